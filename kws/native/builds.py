"""Libraries of a folder of sources, with what they were built by beside them."""

import hashlib
import json
from pathlib import Path

from kws.native import compiler
from kws.support import files
from kws.support.errors import KwsError

SOURCES = ("src/kws_model.c", "library.c")
HEADERS = "src"
FACTS = "build.json"


def build_library(folder: Path, target: str = compiler.HOST, output: Path | None = None) -> Path:
    """Compile the sources in a folder.

    Args:
        folder: with what `kws.native.folder.write` wrote.
        target: see `kws.native.compiler.build`.
        output: where the library goes; a folder named after the target in `folder` when None.

    Returns:
        the library; beside it lies a file of facts.

    Raises:
        KwsError: there is no compiler, or it refuses.
    """
    output = output or folder / target
    output.mkdir(parents=True, exist_ok=True)
    library = output / compiler.file_name(target)
    with files.atomic(library) as temporary:
        used = compiler.build([folder / name for name in SOURCES], folder / HEADERS, target, temporary)
    files.write_json(output / FACTS, {**_facts(folder, target), "compiler": used.version})
    return library


def host_library(folder: Path) -> tuple[Path, object]:
    """The library of a folder for this machine.

    Where there is none, or one that was built on another processor or from other sources, it is built anew into a
    temporary folder.

    Returns:
        the library, and what keeps it there as long as it is referred to.

    Raises:
        KwsError: it has to be built, and there is no compiler.
    """
    library = folder / compiler.HOST / compiler.file_name(compiler.HOST)
    if library.is_file() and _stored_facts(library.parent / FACTS) == _facts(folder, compiler.HOST):
        return library, None
    if not all((folder / name).is_file() for name in SOURCES):
        raise KwsError(f"{str(folder)!r} holds no model in C ({', '.join(SOURCES)}); export it with export=c.")
    if compiler.find_compiler() is None:
        raise KwsError(
            f"the library in {str(folder)!r} was built for another machine or from other sources, and "
            f"{compiler.NONE_FOUND}."
        )
    temporary = compiler.temporary_folder()
    return build_library(folder, compiler.HOST, Path(temporary.name)), temporary


def _facts(folder: Path, target: str) -> dict[str, str]:
    """What a library depends on."""
    digest = hashlib.sha256()
    for name in (*SOURCES, "src/kws_model.h"):
        digest.update((folder / name).read_bytes() if (folder / name).is_file() else b"")
    machine = compiler.machine_facts() if target == compiler.HOST else {}
    return {"target": target, "sources": digest.hexdigest(), **machine}


def _stored_facts(path: Path) -> dict[str, str]:
    try:
        facts = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    facts.pop("compiler", None)
    return facts
