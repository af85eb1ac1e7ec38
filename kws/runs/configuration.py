"""Between Hydra and the package: resolvers of the configs, and errors as sentences."""

import difflib
import errno
import os
import re
import secrets
import shlex
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from hydra.core.hydra_config import HydraConfig
from hydra.errors import HydraException, InstantiationException
from hydra.types import RunMode
from hydra.utils import instantiate
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException
from pytorch_lightning.utilities.exceptions import MisconfigurationException

from kws.runs import trusted
from kws.runs.jobs import job_directory, key_of
from kws.runs.latest import find
from kws.runs.names import COMPOSITION, ERROR, OVERRIDES
from kws.runs.trusted import CONFIGS
from kws.support import files
from kws.support.environment import fast_precision, keep_freed_memory
from kws.support.errors import Interrupted, KwsError

UNWRITABLE = {errno.ENOSPC, errno.EROFS, errno.EACCES, errno.EPERM, errno.EDQUOT, errno.EFBIG, errno.ENOTDIR}
MOVED = {
    "kws.featurizer.": "kws.spotter.featurizer.",
    "kws.vad.": "kws.spotter.vad.",
    "kws.augment.": "kws.data.augment.",
}
"""Where what the configurations of earlier runs name has gone."""


def _unique(folder: str) -> str:
    """A directory that no other run has: the time, and four random letters for runs within one second."""
    return str(Path("outputs") / folder / f"{time.strftime('%Y-%m-%d_%H-%M-%S')}_{secrets.token_hex(2)}")


def _run_directory(resume: str | None) -> str:
    return str(find(resume, begun=True)) if resume else _unique("")


def register_resolvers() -> None:
    """Make the functions that the configs call known to OmegaConf."""
    once = {"replace": True, "use_cache": True}
    OmegaConf.register_new_resolver("samples", lambda seconds, rate: round(seconds * rate), replace=True)
    OmegaConf.register_new_resolver("filters", lambda rate: max(round(rate / 200), 1), replace=True)
    OmegaConf.register_new_resolver("fast_precision", fast_precision, replace=True)
    OmegaConf.register_new_resolver("is_terminal", lambda: sys.stderr.isatty(), replace=True)
    OmegaConf.register_new_resolver("run_directory", _run_directory, **once)
    OmegaConf.register_new_resolver("job_directory", job_directory, replace=True)
    OmegaConf.register_new_resolver("sweep_directory", lambda: _unique("multirun"), **once)


def stored(path: Path) -> DictConfig:
    """The configuration that a run wrote, also before modules had their present places.

    It may come from a stranger: `trusted.refuse_strange_targets` before anything of it is instantiated.
    """
    return trusted.read(path, MOVED)


def build(config: DictConfig, group: str, **facts: Any) -> Any:
    """Instantiate a `_partial_` group of `config` and call it with `facts`; a value it cannot take is named."""
    try:
        return instantiate(config[group], _convert_="all")(**facts)
    except (TypeError, ValueError, RuntimeError) as error:
        values = {k: v for k, v in config[group].items() if not str(k).startswith("_")}
        raise KwsError(f"{group} cannot be made with {values}: {error}") from error


def sentence(error: Exception) -> str | None:
    """What to tell the user about `error`; None where only a traceback helps."""
    if isinstance(error, InstantiationException):
        cause = error.__cause__
        if isinstance(cause, KwsError):
            return str(cause)
        # Hydra's own text names a class of some library and repeats what the cause says.
        key = re.search(r"full_key: (\S+)", str(error))
        if cause is None or key is None:
            return " ".join(str(error).split())
        return f"{key.group(1)}: {' '.join(str(cause).split())}; check the values of {key.group(1)}.*"
    if isinstance(error, (KwsError, MisconfigurationException)):
        return " ".join(str(error).split())
    if isinstance(error, OSError) and error.errno in UNWRITABLE:
        where = repr(error.filename) if error.filename else "the output"
        return f"{where} cannot be written ({error.strerror}); make room, or choose another directory."
    if isinstance(error, OmegaConfBaseException):
        key = getattr(error, "full_key", None)
        first = str(error).splitlines()[0]
        missing = re.search(r"Missing mandatory value: (\S+)", first)
        if missing:
            return f"{missing.group(1)} is not set; give it on the command line: {missing.group(1)}=…"
        return f"configuration: {first}" + (f" ({key})" if key and key not in first else "")
    return None


def start(main: Callable[[], Any]) -> None:
    """Call a script's ``hydra.main`` function; what Hydra finds wrong with the command line is said in a sentence."""
    wanted = os.environ.get("HYDRA_FULL_ERROR") == "1" or os.environ.get("KWS_TRACEBACK") == "1"
    os.environ["HYDRA_FULL_ERROR"] = "1"  # otherwise Hydra prints and exits by itself
    try:
        main()
    except (KwsError, HydraException, OmegaConfBaseException, OSError) as error:
        known = isinstance(error, (KwsError, HydraException, OmegaConfBaseException))  # some are OSErrors too
        text = command_line_sentence(error) if known else sentence(error)
        if wanted or text is None:
            raise
        print(f"error: {text}", file=sys.stderr)
        sys.exit(1)


def command_line_sentence(error: Exception) -> str:
    """What is wrong with an override, and the names it may have been meant for."""
    text = str(error).strip()
    misspelt = re.match(r"Could not override '([^']+)'", text)
    if misspelt:
        key = misspelt.group(1)
        known = known_settings()
        if key in known:
            return (
                f"{key!r} is no setting of the choices made here; add it with +{key}=…, or make the choice that has it."
            )
        close = difflib.get_close_matches(key, sorted(known), n=3, cutoff=0.6)
        hint = f" Did you mean {' or '.join(close)}?" if close else ""
        return f"there is no setting {key!r}.{hint} conf/ and --help list what there is."
    choice = re.search(r"Could not find '([^']+)'.*?Available options in '([^']+)':(.*?)Config search path", text, re.S)
    if choice:
        options = choice.group(3).split()
        return f"there is no {choice.group(1)!r}; choose {choice.group(2)}= one of {', '.join(options)}."
    return " ".join(text.split())


def known_settings() -> dict[str, Any]:
    """Every setting and group of every file in conf/, as it is written on the command line, with a value."""
    settings: dict[str, Any] = {}

    def collect(node: Any, prefix: str) -> None:
        for key, value in node.items():
            if key not in ("defaults", "hydra") and not str(key).startswith("_"):
                settings.setdefault(prefix + str(key), value)
                if isinstance(value, dict):
                    collect(value, f"{prefix}{key}.")

    for path in sorted(CONFIGS.rglob("*.yaml")):
        group = path.parent.relative_to(CONFIGS).as_posix()
        content = OmegaConf.to_container(OmegaConf.load(path), resolve=False) or {}
        top = group in (".", "export") or path.read_text(encoding="utf-8").startswith("# @package _global_")
        if group != ".":
            settings.setdefault(group, None)
        collect(content, "" if top else f"{group}.")
    return settings


def refuse_wrong_types(config: DictConfig) -> None:
    """A word where conf/ has a number is named, before some library stumbles over it."""
    settings = known_settings()
    for override in HydraConfig.get().overrides.task:
        key = key_of(override)
        usual = settings.get(key)
        if isinstance(usual, (int, float)) and key in settings:
            given = OmegaConf.select(config, key)
            if isinstance(given, str):
                raise KwsError(f"{key}={given!r} must be a number or truth value, such as {str(usual).lower()}.")


def resuming(directory: str) -> str:
    """The command that goes on with a run, with what a shell and Hydra need around unusual paths."""
    plain = re.fullmatch(r"[\w./:-]+", directory)
    return "python train.py " + (f"resume={directory}" if plain else shlex.quote(f"resume='{directory}'"))


def run(task: Callable[[DictConfig], Any], config: DictConfig) -> Any:
    """Call `task` under the machine settings of `config`, with errors as sentences.

    A single run leaves the process with status 1 after an error. In a multirun the sentence is kept in error.txt of
    the job's directory and the other jobs go on; `SweepTable` reports the failed ones at the end.
    """
    sweep = HydraConfig.get().mode == RunMode.MULTIRUN
    directory = Path(HydraConfig.get().runtime.output_dir)
    try:
        refuse_wrong_types(config)
        for key in sorted(OmegaConf.missing_keys(config)):
            raise KwsError(f"{key} is not set; give it on the command line: {key}=…")
        if not isinstance(config.threads, int) or config.threads < 1:
            raise KwsError(f"threads={config.threads} must be a whole number of at least 1.")
        torch.set_num_threads(config.threads)
        keep_freed_memory()
        result = task(config)
        if sweep:
            (directory / ERROR).unlink(missing_ok=True)
        return result
    except KeyboardInterrupt as interruption:
        begun = "resume" in config and (Path(config.directory) / COMPOSITION).is_file()
        print(
            f"Interrupted; it goes on with {resuming(config.directory)}" if begun else "Interrupted.", file=sys.stderr
        )
        sys.exit(interruption.status if isinstance(interruption, Interrupted) else Interrupted.status)
    except Exception as error:
        text = sentence(error)
        if os.environ.get("KWS_TRACEBACK") == "1" and not sweep:
            raise
        if text is None and not sweep:
            raise
        text = text or f"{type(error).__name__}: {error}"
        print(f"error: {text}", file=sys.stderr)
        if not sweep:
            sys.exit(1)
        files.write_text(directory / ERROR, text + "\n")
        files.write_text(directory / OVERRIDES, OmegaConf.to_yaml(HydraConfig.get().overrides.task))
        return float("nan")
