"""Settings that sentences name exist."""

import ast
import re

import pytest

from kws.runs.configuration import CONFIGS, known_settings

KWS = CONFIGS.parent / "kws"
GROUPS = sorted({path.parent.name for path in CONFIGS.rglob("*.yaml") if path.parent != CONFIGS} - {"hydra", "export"})
SETTING = re.compile(rf"(?<![\w./\[])((?:{'|'.join([*GROUPS, 'detection', 'streaming', 'calibration'])})(?:\.\w+)+)")


def sentences(path):
    """(line, text) of every string that is no docstring, the gaps of formatted ones as …"""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    inside = {id(part) for node in ast.walk(tree) if isinstance(node, ast.JoinedStr) for part in node.values}
    documents = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    for node in ast.walk(tree):
        if isinstance(node, ast.JoinedStr):
            parts = (part.value if isinstance(part, ast.Constant) else "…" for part in node.values)
            yield node.lineno, "".join(map(str, parts))
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in inside | documents:
            yield node.lineno, node.value


@pytest.mark.parametrize("path", sorted(KWS.rglob("*.py")), ids=lambda path: str(path.relative_to(KWS)))
def test_settings_named_in_sentences_exist(path):
    known = known_settings()
    for line, text in sentences(path):
        if " " not in text or text.startswith(" "):  # a word, or a line of C
            continue
        for name in SETTING.findall(text):
            if name.endswith((".py", ".json", ".html", ".yaml", ".ell")):
                continue
            assert name in known, f"{path}:{line}: {text!r}"
