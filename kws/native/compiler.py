"""A C compiler, wherever there is one: $CC, the system's cc, or the one that the package ziglang brings.

The last one also compiles for other machines: `build` takes targets such as ``wasm`` and ``aarch64-linux``.
"""

import hashlib
import importlib.util
import os
import platform
import shlex
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from kws.support.errors import KwsError

HOST = "host"
WASM = "wasm"
FLAGS = ("-std=c99", "-O3", "-fno-math-errno", "-ffp-contract=fast")
"""For speed, and safe: NaN stays NaN. sqrtf sets no errno, and products may be added without rounding in between."""
NONE_FOUND = (
    "there is no C compiler: neither CC is set, nor is cc on the path, nor is the package ziglang installed "
    "(pip install 'kws[native]')"
)
NO_CROSS_COMPILER = "it takes the package ziglang, which is not installed (pip install 'kws[native]')"


@dataclass(frozen=True)
class Compiler:
    """A command that compiles C.

    Attributes:
        command: its words.
        version: the first line that it says of itself.
        crosses: whether it compiles for other machines.
    """

    command: tuple[str, ...]
    version: str
    crosses: bool = False

    def run(self, *arguments: str | Path) -> None:
        """Compile.

        Raises:
            KwsError: the compiler refuses, with what it says.
        """
        words = [*self.command, *map(str, arguments)]
        done = subprocess.run(words, capture_output=True, text=True)
        if done.returncode:
            said = "\n".join((done.stderr or done.stdout).strip().splitlines()[:20])
            raise KwsError(f"{shlex.join(self.command)} could not compile; it says:\n{said}")


def find_compiler(crosses: bool = False) -> Compiler | None:
    """The first compiler that runs, or None.

    Args:
        crosses: only one that compiles for other machines.

    Raises:
        KwsError: CC is set to something that does not run.
    """
    if not crosses:
        named = os.environ.get("CC", "").strip()
        if named:
            found = known(tuple(shlex.split(named)))
            if found is None:
                raise KwsError(f"CC={named} is set, but does not run; unset it or name a C compiler.")
            return found
        if (cc := shutil.which("cc")) and (found := known((cc,))):
            return found
    if importlib.util.find_spec("ziglang"):
        return known((sys.executable, "-m", "ziglang", "cc"), crosses=True)
    return None


@cache
def known(command: tuple[str, ...], crosses: bool = False) -> Compiler | None:
    """The compiler that a command runs; None where it does not run."""
    try:
        done = subprocess.run([*command, "--version"], capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return None
    return Compiler(command, done.stdout.splitlines()[0] if done.stdout else "", crosses)


def possible(targets: Sequence[str]) -> list[str]:
    """Those of the targets for which there is a compiler; a sentence is printed for every other one."""
    found = []
    for target in targets:
        if find_compiler(crosses=target != HOST) is not None:
            found.append(target)
        elif target != HOST:
            print(f"export.c.targets: {target} is left out; {NO_CROSS_COMPILER}.")
    return found


def file_name(target: str) -> str:
    """What the library of a target is called."""
    system = platform.system().lower() if target == HOST else target.split("-")[-1] if "-" in target else target
    if target == WASM:
        return "kws_model.wasm"
    if "windows" in target or system == "windows":
        return "kws_model.dll"
    return "libkws_model.dylib" if "macos" in target or system == "darwin" else "libkws_model.so"


def build(sources: Sequence[Path], include: Path, target: str, output: Path) -> Compiler:
    """Compile and link a shared library, or a WebAssembly module that exports the same functions.

    Args:
        sources: C files.
        include: folder of their headers.
        target: ``host``, ``wasm``, or a machine and a system, such as ``aarch64-linux``.
        output: the file to write.

    Raises:
        KwsError: there is no compiler for the target, or it refuses.
    """
    compiler = find_compiler(crosses=target != HOST)
    if compiler is None:
        raise KwsError(f"{target} cannot be built: {NONE_FOUND if target == HOST else NO_CROSS_COMPILER}.")
    arguments = [*FLAGS, f"-I{include}", *_target_flags(target, compiler), "-o", output, *sources]
    compiler.run(*arguments, *([] if target == WASM else ["-lm"]))
    return compiler


def _target_flags(target: str, compiler: Compiler) -> list[str]:
    if target == HOST:
        return [*native_flags(compiler), "-shared", "-fPIC", "-s"]
    if target == WASM:
        exports = [f"-Wl,--export={name}" for name in EXPORTED]
        return ["-target", "wasm32-wasi", "-mexec-model=reactor", "-msimd128", "-s", *exports]
    return ["-target", target, "-shared", "-fPIC", "-s"]


@cache
def native_flags(compiler: Compiler) -> tuple[str, ...]:
    """What makes a compiler use everything that this processor can do, if it knows such a flag."""
    with tempfile.TemporaryDirectory(prefix="kws_native_") as folder:
        source = Path(folder) / "nothing.c"
        source.write_text("int nothing;\n")
        for flag in ("-march=native", "-mcpu=native"):
            words = [*compiler.command, flag, "-c", source, "-o", source.with_suffix(".o")]
            if subprocess.run(words, capture_output=True).returncode == 0:
                return (flag,)
    return ()


EXPORTED = (
    "malloc",
    "free",
    "kws_init",
    "kws_reset",
    "kws_process",
    "kws_process_float",
    "kws_decode",
    "kws_hear",
    "kws_hear_float",
    "kws_library_state_bytes",
    "kws_library_settings_bytes",
    "kws_library_detection_bytes",
    "kws_library_number",
    "kws_library_label",
    "kws_library_settings",
    "kws_library_detector",
    "kws_library_totals",
    "kws_library_process",
)
"""Functions of a WebAssembly module."""


def machine_facts() -> dict[str, str]:
    """What a library built with -march=native depends on."""
    features = ""
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.lower().startswith(("flags", "features")):
                features = line.split(":", 1)[1]
                break
    except OSError:
        features = platform.processor()
    digest = hashlib.sha256(" ".join(sorted(features.split())).encode()).hexdigest()[:16]
    return {"system": platform.system(), "machine": platform.machine(), "processor_features": digest}


def temporary_folder() -> tempfile.TemporaryDirectory:
    """For a library that is not kept."""
    return tempfile.TemporaryDirectory(prefix="kws_native_")
