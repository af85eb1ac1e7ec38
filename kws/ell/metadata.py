"""Free text inside an ELL model.

ELL's tokenizer cannot read every text, so what is not plain is percent-encoded, as in an address on the web. Keys of
ours begin with ``kws_``, because ELL's audio tools look for keys such as ``window_size`` on every node and would act
on them.
"""

import string
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import quote, unquote

from kws.ell.model import Model

PREFIX = "kws_"
_SAFE = "".join(c for c in string.printable if " " <= c <= "~" and c not in "\"'\\%")
_UNSAFE_FIRST = " ,:{}[]"


def encode(text: str, safe: str = _SAFE) -> str:
    """`text` in characters that ELL reads at any place."""
    encoded = quote(text, safe=safe)
    if encoded[:1] and encoded[0] in _UNSAFE_FIRST:
        encoded = f"%{ord(encoded[0]):02X}{encoded[1:]}"
    return encoded


def encode_facts(facts: Mapping[str, Any]) -> dict[str, str]:
    """Plain facts as metadata: keys with our prefix, in order of name; empty values are left out."""
    texts = {f"{PREFIX}{encode(key)}": encode(_text(facts[key])) for key in sorted(facts)}
    return {key: value for key, value in texts.items() if value}


def encode_labels(labels: Sequence[str]) -> dict[str, str]:
    """The labels as metadata, in the order of the outputs."""
    without_comma = _SAFE.replace(",", "")
    return {f"{PREFIX}labels": ",".join(encode(label, without_comma) for label in labels)}


def facts(model: Model) -> dict[str, str]:
    """The facts that `encode_facts` wrote into any node of `model`, as text."""
    found = {}
    for node in model.nodes:
        for key, value in node.metadata.items():
            if key.startswith(PREFIX) and key != f"{PREFIX}labels":
                found[unquote(key.removeprefix(PREFIX))] = unquote(value)
    return found


def labels(model: Model) -> tuple[str, ...]:
    """The labels in `model`, or none."""
    for node in model.nodes:
        if value := node.metadata.get(f"{PREFIX}labels"):
            return tuple(unquote(label) for label in value.split(","))
    return ()


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return "" if value is None else str(value)
