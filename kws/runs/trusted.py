"""What a stored configuration may ask for: a run directory from a stranger runs no code.

``_target_`` names what Hydra calls, so it could name anything. Of a stored configuration only those are taken that
conf/ itself names, and those that were given anew on the present command line.
"""

import re
from collections.abc import Iterable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException
from yaml import YAMLError

from kws.support import plain_yaml
from kws.support.errors import KwsError

CONFIGS = Path(__file__).parents[2] / "conf"
OTHERS = frozenset(
    {
        "pytorch_lightning.callbacks.EMAWeightAveraging",
        "kws.corpus.FinetuningCorpus",
        "kws.networks.SpeechEmbeddingClassifier",
    }
)
"""Chosen by benchmarks/studies, and by ``finetune=``."""
LARGEST = 1 << 22  # characters of a configuration whose interpolations have been filled in
LONGEST = 10_000  # characters of a value with interpolations
INTERPOLATION = re.compile(r"\$\{([^${}]*)\}")


@cache
def known() -> frozenset[str]:
    """Every target that a file in conf/ names."""
    texts = (path.read_text(encoding="utf-8") for path in CONFIGS.rglob("*.yaml") if "hydra" not in path.parts)
    return OTHERS | {name for text in texts for name in re.findall(r"_target_:\s*([\w.]+)", text)}


def targets(value: Any) -> Iterator[str]:
    """Every target in plain values, however deep."""
    if isinstance(value, dict):
        if "_target_" in value:
            yield str(value["_target_"])
        value = list(value.values())
    for item in value if isinstance(value, list) else ():
        yield from targets(item)


def read(path: Path, moved: dict[str, str]) -> DictConfig:
    """A stored configuration as it was written.

    Args:
        path: its file.
        moved: where targets of earlier versions have gone, the beginnings of their names.

    Raises:
        KwsError: no file, no configuration, or one that grows without end when it is read.
    """
    try:
        text = plain_yaml.read(path)
        for before, now in moved.items():
            text = re.sub(rf"(_target_:\s*){re.escape(before)}", rf"\g<1>{now}", text)
        config = OmegaConf.create(text)
        if not isinstance(config, DictConfig):
            raise ValueError("it holds no settings")
        _refuse_growth(config)
    except (OSError, ValueError, YAMLError, RecursionError, OmegaConfBaseException) as error:
        reason = " ".join(str(error).split())
        raise KwsError(f"{str(path)!r} cannot be read as a configuration ({reason}); name another run.") from error
    return config


def refuse_strange_targets(config: DictConfig, path: Path, given: Iterable[str] = ()) -> None:
    """Raise KwsError where `config`, filled in, names a target that kws does not choose from and is not `given`."""
    try:
        plain = OmegaConf.to_container(config, resolve=True)
    except OmegaConfBaseException as error:
        reason = str(error).splitlines()[0]
        raise KwsError(f"{str(path)!r} cannot be read as a configuration ({reason}); name another run.") from error
    allowed = known() | set(given)
    for name in targets(plain):
        if name not in allowed:
            raise KwsError(
                f"{str(path)!r} names _target_: {name}, which is none of those that kws chooses from, and is not run; "
                "if you trust it, give that setting again on the command line."
            )


def _refuse_growth(config: DictConfig) -> None:
    """Raise ValueError where a few interpolations of interpolations would fill the memory.

    An upper bound: every reference counts as long as what it refers to, filled in.
    """
    plain = OmegaConf.to_container(config, resolve=False)
    sizes: dict[str, int] = {}

    def size(value: Any, place: tuple[str, ...]) -> int:
        key = ".".join(place)
        if key in sizes:
            return sizes[key]
        sizes[key] = 0  # a circle is OmegaConf's to refuse
        if isinstance(value, dict):
            total = sum(len(str(k)) + size(v, (*place, str(k))) for k, v in value.items())
        elif isinstance(value, list):
            total = sum(size(v, (*place, str(k))) for k, v in enumerate(value))
        else:
            total = len(str(value)) + sum(referred(name, place) for name in _references(str(value)))
        if total > LARGEST:
            raise ValueError(f"{key} grows to more than {LARGEST} characters")
        sizes[key] = total
        return total

    def referred(name: str, place: tuple[str, ...]) -> int:
        steps = len(name) - len(name.lstrip("."))
        path = (*(place[:-steps] if steps else ()), *filter(None, re.split(r"[.\[\]]+", name.lstrip("."))))
        value: Any = plain
        for key in path:
            value = value.get(key) if isinstance(value, dict) else None
        return size(value, path) if value is not None else 0

    size(plain, ())


def _references(text: str) -> Iterator[str]:
    """What the interpolations in a text refer to, those within others too."""
    if "${" in text and len(text) > LONGEST:
        raise ValueError(f"a value with interpolations of {len(text)} characters")
    while found := INTERPOLATION.search(text):
        inside = found.group(1)
        _, colon, arguments = inside.partition(":")
        yield from (argument.strip(" '\"") for argument in arguments.split(",")) if colon else [inside]
        text = text[: found.start()] + text[found.end() :]
    if "${" in text:
        raise ValueError(f"an interpolation without an end, {text[:40]!r}")
