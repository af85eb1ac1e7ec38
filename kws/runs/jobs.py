"""Jobs of a sweep: where they write, and what becomes of those that an earlier sweep in the same folder began."""

import hashlib
import json
import re
from collections.abc import Iterable
from pathlib import Path

from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from kws.runs.names import COMPOSITION, OVERRIDES, RESULTS
from kws.support.errors import KwsError

NOT_IN_NAMES = ("data.root", "cache_dir", "threads", "summary", "sweep", "export", "callbacks", "hydra")
"""Settings that make a job's name long and say little; its hash holds them all the same."""
LONGEST = 100


def key_of(override: str) -> str:
    """What an override sets."""
    return override.lstrip("+~").partition("=")[0]


def settings_of(overrides: Iterable[str]) -> list[str]:
    """What makes a job what it is, sorted: everything but who launches it."""
    return sorted(override for override in map(str, overrides) if key_of(override) != "launcher")


def job_directory(overrides: Iterable[str]) -> str:
    """A directory name that says what was set and that no job with other settings has.

    Hydra's own job numbers begin at 0 in every sweep, so that a second sweep in a folder writes over the first
    (hydra#3328); a name made of the settings is the same in every sweep, and another for other settings.
    """
    overrides = settings_of(overrides)
    keys = list(map(key_of, overrides))
    told = [o for k, o in zip(keys, overrides, strict=True) if not {k, k.partition(".")[0]} & set(NOT_IN_NAMES)]
    # model.hidden_size=64 as hidden_size=64
    shown = ",".join(re.sub(r"^[+~]*[\w.]*\.(?=\w+=)", "", override) for override in told)
    name = re.sub(r"[^\w.,=+-]+", "-", shown)[:LONGEST].strip("-.,")
    return f"{name or 'job'}_{hashlib.sha256(chr(10).join(overrides).encode()).hexdigest()[:6]}"


def earlier_job(config: DictConfig, directory: Path) -> float | None:
    """What an earlier sweep left of this job.

    A finished job's validation accuracy is handed back, and nothing is left to do. An unfinished one is set up to be
    resumed (`config.resume`). Outside of a multirun nothing is looked for.

    Raises:
        KwsError: the directory holds a job with other settings.
    """
    if HydraConfig.get().mode != RunMode.MULTIRUN or not (directory / COMPOSITION).is_file():
        return None
    try:
        stored = OmegaConf.to_container(OmegaConf.load(directory / OVERRIDES))
    except (OSError, ValueError, OmegaConfBaseException):
        stored = None
    if stored is None or settings_of(stored) != settings_of(HydraConfig.get().overrides.task):
        raise KwsError(f"{str(directory)!r} holds a job with other settings; choose another hydra.sweep.dir.")
    try:
        results = json.loads((directory / RESULTS).read_text(encoding="utf-8"))
    except FileNotFoundError:
        print(f"{directory} was begun by an earlier sweep and is continued.")
        config.resume = str(directory)
        return None
    print(f"{directory} was finished by an earlier sweep and is left as it is.")
    return results["validation"]["accuracy"]
