"""Integer networks as files: an ``.npz`` of arrays and plain values, so that the same integers can be judged again.

The numbers follow from the spotter and the clips it was calibrated on, but a maximum in float32 may fall on the other
side of a power of two on another machine. What was exported is therefore kept.
"""

import json
from dataclasses import fields, replace
from pathlib import Path
from zipfile import BadZipFile, ZipFile

import numpy as np

from kws.program import quantized as q
from kws.program.program import Program
from kws.program.steps import LogSoftmax, Step
from kws.support import files
from kws.support.errors import KwsError

VERSION = 1
KINDS: dict[str, type[Step]] = {
    kind.__name__: kind
    for kind in (
        q.Quantize,
        q.IntegerConvolution,
        q.IntegerOffset,
        q.IntegerReLU,
        q.IntegerLeakyReLU,
        q.IntegerMaxPool,
        q.IntegerAdd,
        q.IntegerGRU,
        q.IntegerLSTM,
        q.IntegerFastGRNN,
        q.Scores,
        LogSoftmax,
    )
}


def write(program: Program, path: str | Path) -> None:
    """The network of an integer program to one file, whole or not at all."""
    described, arrays = [], {}
    for number, step in enumerate(program.network):
        values = {field.name: getattr(step, field.name) for field in fields(step)}
        plain = {}
        for name, value in values.items():
            if isinstance(value, np.ndarray):
                arrays[f"{number}.{name}"] = value
            elif isinstance(value, tuple):
                plain[name] = len(value)
                arrays |= {f"{number}.{name}.{i}": item for i, item in enumerate(value)}
            else:
                plain[name] = value
        described.append({"kind": type(step).__name__, **plain})
    header = json.dumps({"version": VERSION, "steps": described})
    with files.atomic(path) as temporary, temporary.open("wb") as file:
        np.savez(file, header=np.array(header), **arrays)


def read(path: str | Path, original: Program) -> Program:
    """The integer program in a file, around the network of the float program that it was made from.

    Raises:
        KwsError: no such file, damaged, of a newer version, or of a network that does not fit.
    """
    path = Path(path)
    if not path.is_file():
        raise KwsError(f"there is no integer network at {str(path)!r}; export it first.")
    try:
        with ZipFile(path) as archive:  # NumPy packs nothing here, so what is larger than its file is none of ours
            if sum(part.file_size for part in archive.infolist()) > path.stat().st_size:
                raise ValueError("packed")
        with np.load(path, allow_pickle=False) as stored:
            arrays = {name: stored[name] for name in stored.files}
        header = json.loads(str(arrays.pop("header")))
        if header["version"] > VERSION:
            raise KwsError(f"{str(path)!r} was written by a newer kws (version {header['version']}); update kws.")
        network = [_step(number, dict(plain), arrays) for number, plain in enumerate(header["steps"])]
        for step in network:
            q.check(step)
    except (BadZipFile, ValueError, KeyError, TypeError, EOFError, OSError, MemoryError) as error:
        raise KwsError(f"{str(path)!r} cannot be read as an integer network (damaged or another kind).") from error
    own = {step.name for step in original.network}
    last = max(i for i, step in enumerate(original.steps) if step.name in own)
    before = [step for step in original.steps[:last] if step.name not in own]
    program = replace(original, steps=(*before, *network, *original.steps[last + 1 :]))
    if program.sizes[program.output] != original.sizes[original.output]:
        raise KwsError(f"{str(path)!r} tells other words apart than the spotter; export it again.")
    return program


def _step(number: int, plain: dict, arrays: dict[str, np.ndarray]) -> Step:
    """A step from its plain values, in which the length stands for a tuple of arrays, and the arrays of its number."""
    kind = KINDS[plain.pop("kind")]
    for field in fields(kind):
        name = f"{number}.{field.name}"
        if name in arrays:
            plain[field.name] = arrays[name]
        elif f"{name}.0" in arrays:
            plain[field.name] = tuple(arrays[f"{name}.{i}"] for i in range(plain[field.name]))
    return kind(**plain)
