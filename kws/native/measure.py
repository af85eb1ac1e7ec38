"""What a model in C takes: flash, memory, time."""

import shutil
import struct
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from kws.native import compiler
from kws.native.library import CModel
from kws.support.errors import KwsError

ARM = "arm-none-eabi-gcc"
CORTEX_M4 = ("-mcpu=cortex-m4", "-mthumb", "-mfloat-abi=hard", "-mfpu=fpv4-sp-d16")
SMALL = "-O2"
"""How the code of a small processor is compiled here: -O3 makes it larger, and hardly faster."""
ALLOCATED, NO_BITS = 0x2, 8  # of an ELF section: takes memory; has no bytes in the file


@dataclass(frozen=True)
class Footprint:
    """Of one way to compile a model.

    Attributes:
        name: processor and compiler.
        flash_bytes: code, weights and other constants.
    """

    name: str
    flash_bytes: int


def footprint(folder: Path) -> Footprint | None:
    """Flash that the model in a folder takes: on a Cortex-M4 where a compiler for it is installed, else here.

    Compiled for size in the second case, since the code of a large processor says little about a small one. None
    without a compiler, and where object files are not ELF.
    """
    if arm := shutil.which(ARM):
        return _object(folder, compiler.known((arm,)), (SMALL, *CORTEX_M4), "Cortex-M4")
    if (found := compiler.find_compiler()) is not None:
        return _object(folder, found, ("-Os",), compiler.machine_facts()["machine"])
    return None


def _object(folder: Path, used: compiler.Compiler, flags: Sequence[str], processor: str) -> Footprint | None:
    with tempfile.TemporaryDirectory(prefix="kws_native_") as temporary:
        path = Path(temporary) / "kws_model.o"
        used.run("-std=c99", "-fno-math-errno", *flags, "-c", folder / "src" / "kws_model.c", "-o", path)
        size = flash_bytes(path.read_bytes())
    return None if size is None else Footprint(f"{processor}, {used.version}", size)


def flash_bytes(elf: bytes) -> int | None:
    """Bytes of the sections of an ELF file that take memory and come from the file; None where it is none.

    As `size` counts text and data.
    """
    if elf[:4] != b"\x7fELF":
        return None
    wide, order = elf[4] == 2, "<" if elf[5] == 1 else ">"
    (start,) = struct.unpack_from(f"{order}{'Q' if wide else 'I'}", elf, 0x28 if wide else 0x20)
    width, count = struct.unpack_from(f"{order}HH", elf, 0x3A if wide else 0x2E)
    total = 0
    for i in range(count):
        layout = f"{order}{'IIQQQQ' if wide else 'IIIIII'}"  # name, type, flags, address, offset, size
        _, kind, flags, _, _, size = struct.unpack_from(layout, elf, start + i * width)
        if flags & ALLOCATED and kind != NO_BITS:
            total += size
    return total


def microseconds_per_hop(model: CModel, seconds: float = 0.3) -> float:
    """Time of a hop of one stream here, in one thread: the median over blocks of 32 hops of noise."""
    random = np.random.default_rng(0)
    samples = (0.1 * random.standard_normal((1, 32 * model.hop_size))).astype(np.float32)
    state, times = model.start(), []
    end = time.perf_counter() + seconds
    while len(times) < 5 or time.perf_counter() < end:
        started = time.perf_counter()
        _, state = model.hear(samples, state)
        times.append(time.perf_counter() - started)
    return 1e6 * float(np.median(times)) / 32


def figures(model: CModel | None, small: Footprint | None) -> dict[str, float | int | None]:
    """For results.json: ``flash_bytes``, ``state_bytes``, ``microseconds_per_hop``; None where it is not known."""
    return {
        "flash_bytes": small.flash_bytes if small else None,
        "state_bytes": model.state_bytes if model else None,
        "microseconds_per_hop": microseconds_per_hop(model) if model else None,
    }


def native_figures(folder: str | Path) -> dict[str, float | int | None]:
    """`figures` of what export=c wrote into a folder. Its library is loaded, so its code runs.

    All are None without a compiler.
    """
    try:
        return figures(CModel.in_folder(folder), footprint(Path(folder)))
    except KwsError:
        return figures(None, None)
