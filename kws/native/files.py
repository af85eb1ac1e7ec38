"""The C files of kws/native/c put together, and texts with gaps filled."""

import re
from collections.abc import Iterable, Mapping
from pathlib import Path

C = Path(__file__).parent / "c"
OWN_INCLUDE = re.compile(r'^#include "(.+)"\n', re.MULTILINE)
DIRECTIVES = re.compile(r"^#(?:include|pragma) .+\n", re.MULTILINE)
GAP = re.compile(r"@(\w+)@")
SYSTEM_INCLUDE = re.compile(r"^#include <(.+)>\n", re.MULTILINE)


def joined(names: Iterable[str]) -> tuple[list[str], list[str]]:
    """The text of C files, each once, and behind what it includes.

    Returns:
        The system's headers that they include, and the texts without any includes.
    """
    headers: set[str] = set()
    texts: dict[str, str] = {}

    def add(name: str) -> None:
        if name in texts or name == "kws_model.h":
            return
        text = (C / name).read_text(encoding="utf-8")
        for other in OWN_INCLUDE.findall(text):
            add(other)
        headers.update(SYSTEM_INCLUDE.findall(text))
        texts[name] = DIRECTIVES.sub("", text).strip() + "\n"

    for name in names:
        add(name)
    return sorted(headers), list(texts.values())


def filled(path: Path, facts: Mapping[str, str]) -> str:
    """The text of a file, its gaps ``@name@`` filled. A gap without a fact is a KeyError."""
    return GAP.sub(lambda gap: facts[gap[1]], path.read_text(encoding="utf-8"))
