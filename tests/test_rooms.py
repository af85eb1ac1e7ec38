"""The floor plan: a room imports from those below it and from no other."""

import ast
from pathlib import Path

KWS = Path(__file__).parents[1] / "kws"

ROOMS = (
    "support",
    "program",
    "ell",
    "corpus",
    "networks",
    "spotter",
    "native",
    "page",
    "data",
    "runs",
    "export",
    "evaluation",
    "spotters",
    "training",
    "sweeping",
    "gallery",
    "listen",
    "view",
)
"""From the ground up. docs/architecture.md says what each is for."""
COMMANDS = {"__init__.py", "tune_vad.py"}
"""Files that may lie in kws/ itself: they are called, and hold nothing that others import."""


def imported(path: Path) -> list[tuple[int, str]]:
    """(line, module of kws) of every import in a file, those inside functions too."""
    found = []
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found += [(node.lineno, alias.name) for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module == "kws":
            found += [(node.lineno, f"kws.{alias.name}") for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            found.append((node.lineno, node.module))
    return [(line, name) for line, name in found if name.split(".")[0] == "kws"]


def offences(root: Path) -> list[str]:
    """A sentence for every import that leads upwards, and for every file outside the rooms."""
    sentences = []
    for path in sorted(root.rglob("*.py")):
        where = path.relative_to(root)
        if len(where.parts) == 1:
            if where.name not in COMMANDS:
                sentences.append(f"kws/{where} lies outside the rooms; choose one of {', '.join(ROOMS)}.")
            continue
        room = where.parts[0]
        if room not in ROOMS:
            sentences.append(f"kws/{room} is a room without a place in ROOMS; say what it may import.")
            continue
        for line, name in imported(path):
            other = name.split(".")[1] if "." in name else ""
            if other not in ROOMS or ROOMS.index(other) > ROOMS.index(room):
                sentences.append(
                    f"kws/{where}:{line} imports {name}, but {room} stands below {other or 'kws itself'}: "
                    f"what both need belongs into {room} or further down, or this file into {other or 'a room above'}."
                )
    return sentences


def test_imports_go_one_way():
    assert not offences(KWS), "\n" + "\n".join(offences(KWS))


def test_every_room_is_there():
    assert {path.parent.name for path in KWS.glob("*/__init__.py")} == set(ROOMS)


def test_an_import_that_leads_upwards_is_found(tmp_path):
    files = {
        "spotter/a.py": "from kws.support import files\n\n\ndef f():\n    from kws.export.onnx import session\n",
        "ell/b.py": "import kws.networks.gru\nfrom kws import training\n",
        "support/c.py": "import numpy\nfrom kws.support.errors import KwsError\n",
        "loose.py": "",
        "attic/d.py": "",
    }
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    assert [sentence.split(",")[0].split(";")[0] for sentence in offences(tmp_path)] == [
        "kws/attic is a room without a place in ROOMS",
        "kws/ell/b.py:1 imports kws.networks.gru",
        "kws/ell/b.py:2 imports kws.training",
        "kws/loose.py lies outside the rooms",
        "kws/spotter/a.py:5 imports kws.export.onnx",
    ]
