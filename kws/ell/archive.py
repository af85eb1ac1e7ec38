"""ELL's model files as text: a strict reader, and a writer that formats as ELL does.

The format looks like JSON and is none: properties come in one fixed order, and a key may occur twice. So the reader
walks the text once, asks for one property after the other, and names the place where something else stands.
"""

import math
import re
from pathlib import Path
from typing import Any

import numpy as np

from kws.ell.model import Model, ModelError
from kws.ell.nodes import NODE_TYPES
from kws.ell.properties import ACTIVATIONS, Property, Struct
from kws.support.errors import KwsError
from kws.support.files import write_text

DIGITS = 9  # enough to give every float32 back exactly; ELL itself writes 7, which is not
LARGEST_FILE = 1 << 30  # bytes

_SPACE = re.compile(r"[ \t\r\n]*")
_NUMBER = re.compile(r"-?(?:\d+(?:\.\d*)?|\.\d+)(?:[eE][+-]?\d+)?(?![\w.+-])")
_IN_STRING = re.compile(r'["\\\x00-\x1f]')
_NUMBERS = re.compile(r"\[([0-9eE+\-., \t\r\n]*)\]")
_ESCAPES = {"n": "\n", "r": "\r", "t": "\t", "b": "\b", "f": "\f", '"': '"', "'": "'", "\\": "\\"}
_WORD = re.compile(r'"[^"\n]{0,60}"?|[^\s,:{}\[\]]{1,60}|.', re.DOTALL)


# --- reading ---------------------------------------------------------------------------------------------------------


def read(path: str | Path) -> Model:
    """The model in the file `path`.

    Raises:
        KwsError: the file cannot be read, or is damaged; names the line, the column and the node.
    """
    try:
        data = Path(path).read_bytes() if Path(path).stat().st_size <= LARGEST_FILE else None
    except OSError as error:
        raise KwsError(f"'{path}' cannot be read: {error.strerror}.") from None
    if data is None:
        raise KwsError(f"'{path}' is larger than {LARGEST_FILE} bytes, which no ELL model is.")
    return parse(data, str(path))


def parse(data: bytes | str, name: str = "model") -> Model:
    """The model in the text of an ELL file. `name` stands for the file in messages."""
    if isinstance(data, bytes):
        if data.startswith(b"\xef\xbb\xbf"):
            raise KwsError(f"'{name}', line 1, column 1: a byte-order mark, which ELL cannot read; save without it.")
        try:
            data = data.decode("utf-8")
        except UnicodeDecodeError as error:
            line, column = _place(data, error.start, b"\n")
            raise KwsError(f"'{name}', line {line}, column {column}: this is no text, so no ELL model.") from None
    if data.startswith("\ufeff"):
        raise KwsError(f"'{name}', line 1, column 1: a byte-order mark, which ELL cannot read; save without it.")
    return _Reader(data, name).map()


def _place(text: str | bytes, offset: int, newline: str | bytes = "\n") -> tuple[int, int]:
    """Line and column, from 1."""
    return text.count(newline, 0, offset) + 1, offset - (text.rfind(newline, 0, offset) + 1) + 1


class _Reader:
    """One walk through the text. ``path`` says which property is being read."""

    def __init__(self, text: str, name: str):
        self.text, self.name = text, name
        self.offset = 0
        self.path: list[str] = []
        self.node_offsets: list[int] = []

    # - the text -

    def error(self, reason: str, offset: int | None = None) -> KwsError:
        line, column = _place(self.text, self.offset if offset is None else offset)
        where = f" at {'.'.join(self.path)}" if self.path else ""
        return KwsError(f"'{self.name}', line {line}, column {column}{where}: {reason}.")

    def peek(self) -> str:
        self.offset = _SPACE.match(self.text, self.offset).end()
        return self.text[self.offset : self.offset + 1]

    def found(self) -> str:
        """What stands here, for messages."""
        self.peek()
        word = _WORD.match(self.text, self.offset)
        return f"found {word[0]!r}" if word else "the file ends here"

    def expect(self, character: str) -> None:
        if self.peek() != character:
            raise self.error(f"expected {character!r}, {self.found()}")
        self.offset += 1

    def string(self) -> str:
        self.peek()
        text = self.quoted()
        if text is None:
            raise self.error(f"expected a quoted text, {self.found()}")
        if not text:
            raise self.error("ELL cannot read an empty text")
        self.offset += len(text) + 2
        return re.sub(r"\\(.)", lambda m: _ESCAPES.get(m[1], m[0]), text) if "\\" in text else text

    def quoted(self) -> str | None:
        """What stands between quotes here, as it is written; None where there is no such text, or no end of it."""
        start = end = self.offset + 1
        if self.text[self.offset : start] != '"':
            return None
        # Not by one pattern: it would remember every character of a text without an end.
        while (found := _IN_STRING.search(self.text, end)) and found[0] == "\\":
            if self.text[found.end() : found.end() + 1] == "\n":
                return None
            end = found.end() + 1
        return self.text[start : found.start()] if found and found[0] == '"' else None

    def key(self, key: str) -> None:
        """Pass ``"key":``, which must be the next property."""
        start = self.offset
        if self.peek() != '"':
            raise self.error(f"expected the property {key!r}, {self.found()}")
        start = self.offset
        found = self.string()
        if found != key:
            raise self.error(f"expected the property {key!r}, found {found!r}", start)
        self.expect(":")

    def next_key(self) -> str | None:
        """The key that comes next, without passing it."""
        self.peek()
        return self.quoted()

    def number(self) -> str:
        self.peek()
        match = _NUMBER.match(self.text, self.offset)
        if match is None:
            raise self.error(f"expected a number, {self.found()}")
        self.offset = match.end()
        return match[0]

    def integer(self) -> int:
        start = self.offset
        value = float(self.number())
        if not math.isfinite(value) or value != int(value) or abs(value) > 2**53:
            raise self.error("expected a whole number", start)
        return int(value)

    def real(self) -> float:
        start = self.offset
        value = float(self.number())
        if not math.isfinite(value):
            raise self.error("this number is too large", start)
        return value

    def array(self) -> np.ndarray:
        """A bracketed list of numbers, as float64."""
        self.peek()
        match = _NUMBERS.match(self.text, self.offset)
        if match is None:
            # Walk to the element that is no number, so that the message points at it.
            self.expect("[")
            while True:
                self.number()
                if self.peek() != ",":
                    break
                self.offset += 1
            raise self.error(f"expected ',' or ']', {self.found()}")
        if not match[1].strip():
            self.offset = match.end()
            return np.empty(0)
        try:
            values = np.array([float(word) for word in match[1].split(",")])
        except ValueError:
            offset = self.offset + 1
            for index, word in enumerate(match[1].split(",")):
                if not _NUMBER.fullmatch(word.strip()):
                    raise self.error(f"element {index} of the list is {word.strip()!r}, no number", offset) from None
                offset += len(word) + 1
            raise
        if not np.isfinite(values).all():
            raise self.error("a number in the list is too large")
        self.offset = match.end()
        return values

    # - objects -

    def begin(self, expected: str | None = None) -> tuple[str, str]:
        """Pass ``{ "_type": …, "_version": …``; returns the two."""
        self.expect("{")
        self.key("_type")
        start = self.offset
        kind = self.string()
        if expected is not None and kind != expected:
            raise self.error(f"expected an object of type {expected!r}, found {kind!r}", start)
        self.expect(",")
        self.key("_version")
        start = self.offset
        if self.peek() != '"':
            raise self.error(f"_version must be a quoted number, {self.found()}")
        version = self.string()
        if not version.isascii() or not version.isdigit():
            raise self.error(f"_version must be a quoted number, found {version!r}", start)
        return kind, version

    def end(self) -> None:
        """Pass the brace that closes an object."""
        if self.peek() == ",":
            self.offset += 1
            raise self.error(f"unknown property, {self.found()}")
        if self.peek() != "}":
            raise self.error(f"expected the end of the object, {self.found()}")
        self.offset += 1

    def property(self, p: Property) -> Any:
        """The value of `p`, which must come next; None where it is optional and absent."""
        after = self.offset
        if p.optional:
            if self.peek() != ",":
                return None
            self.offset += 1
            if self.next_key() != p.key:
                self.offset = after
                return None
            self.offset = after
        self.path.append(p.key)
        if self.peek() != ",":
            raise self.error(f"the property {p.key!r} is missing, {self.found()}")
        self.offset += 1
        self.key(p.key)
        value = self.value(p)
        self.path.pop()
        return value

    def value(self, p: Property) -> Any:
        start = self.offset
        match p.kind:
            case "text" | "unique_id":
                value = self.string()
                if p.choices and value not in p.choices:
                    raise self.error(f"{value!r} is not supported; known are {', '.join(p.choices)}", start)
                return value
            case "integer":
                return self.integer()
            case "real":
                return self.real()
            case "integers":
                values = self.array()
                if (values != np.floor(values)).any() or (np.abs(values) > 2**53).any():
                    raise self.error("expected whole numbers", start)
                return [int(v) for v in values]
            case "floats":
                with np.errstate(over="ignore"):
                    values = self.array().astype(np.float32)
                if not np.isfinite(values).all():
                    raise self.error("a number in the list is too large for a float", start)
                return values
            case "object":
                return self.struct(p.struct)
            case "activation":
                kind, _ = self.begin()
                self.end()
                for name in p.choices:
                    if kind == ACTIVATIONS[name]:
                        return name
                raise self.error(f"the activation {kind!r} is not supported; known are {', '.join(p.choices)}", start)
            case "port":
                return self.port(p)
            case "bag":
                return self.bag()
            case "nodes":
                return self.nodes()
        raise AssertionError(p.kind)

    def struct(self, cls: type[Struct]) -> Struct:
        self.begin(cls.TYPE)
        values = {name: self.property(p) for name, p in cls.properties()}
        self.end()
        return cls(**values)

    def port(self, p: Property) -> str:
        self.begin(p.type_name)
        self.property(Property("nodeId", "unique_id"))  # ELL asks for it and ignores it
        self.property(Property("name", "text", choices=(p.key,)))
        start = self.offset
        if self.property(Property("type", "integer")) != p.port_type:
            raise self.error(f"a port of {p.type_name!r} here has the type {p.port_type}", start)
        source = self.property(Property("input", "unique_id"))
        self.end()
        return source

    def bag(self) -> dict[str, str]:
        """A PropertyBag; its values are texts."""
        self.begin("PropertyBag")
        self.expect(",")
        self.key("data")
        bag: dict[str, str] = {}
        for _ in self.items("data"):
            self.begin("PropertyBag::KeyValue")
            key = self.property(Property("k", "text"))
            self.expect(",")
            self.key("v")
            self.begin("Variant")
            self.property(Property("type", "text", choices=("std::string",)))
            bag[key] = self.property(Property("value", "text"))
            self.end()
            self.end()
        self.end()
        return bag

    def items(self, name: str):
        """Yield once before each element of a list of objects."""
        self.expect("[")
        index = 0
        while self.peek() != "]":
            if index:
                self.expect(",")
            self.path.append(f"{name}[{index}]")
            yield index
            self.path.pop()
            index += 1
        self.offset += 1

    def nodes(self) -> list:
        nodes = []
        self.path.pop()  # items() names the list together with the element
        for _ in self.items("nodes"):
            self.peek()
            start = self.offset
            self.node_offsets.append(start)
            kind, version = self.begin()
            cls = NODE_TYPES.get(kind)
            if cls is None:
                raise self.error(f"unknown node type {kind!r}", start)
            values = {}
            for name, p in cls.properties():
                values[name] = self.property(p)
                if name == "id":
                    self.path[-1] += f" ({kind} {values[name]!r})"
            self.end()
            values["metadata"] = values["metadata"] or {}
            nodes.append(cls(**values, version=version))
        self.path.append("nodes")
        return nodes

    def texts(self, key: str) -> list[str]:
        """A property that is a list of quoted texts."""
        self.expect(",")
        self.key(key)
        self.path.append(key)
        texts = []
        self.expect("[")
        while self.peek() != "]":
            if texts:
                self.expect(",")
            texts.append(self.string())
        self.offset += 1
        self.path.pop()
        return texts

    def map(self) -> Model:
        _, version = self.begin(Model.TYPE)
        self.version(version)
        self.expect(",")
        self.key("model")
        self.path.append("model")
        _, model_version = self.begin("Model")
        self.version(model_version)
        nodes = self.property(Property("nodes", "nodes"))
        metadata = self.property(Property("metadata", "bag", optional=True)) or {}
        self.end()
        self.path.pop()
        model = Model(
            nodes,
            metadata=metadata,
            input_names=self.texts("inputNames"),
            input_ids=self.texts("inputIds"),
            output_names=self.texts("outputNames"),
            output_elements=self.texts("outputElements"),
            version=version,
            model_version=model_version,
        )
        self.end()
        if self.peek():
            raise self.error(f"expected the end of the file, {self.found()}")
        try:
            model.sizes()
        except ModelError as error:
            offset = 0 if error.node is None else self.node_offsets[error.node]
            raise self.error(str(error), offset) from None
        return model

    def version(self, version: str) -> None:
        if version not in ("2", "3"):
            raise self.error(f"ELL reads versions 2 and 3 of this, not {version!r}")


# --- writing ---------------------------------------------------------------------------------------------------------


def write(model: Model, path: str | Path, digits: int = DIGITS) -> None:
    """Write `model` to `path`, whole or not at all; the same model makes the same bytes."""
    write_text(path, text(model, digits))


def text(model: Model, digits: int = DIGITS) -> str:
    """The text of the file, as ELL formats it. `digits` are significant digits; ELL's own files have 7.

    Raises:
        KwsError: the model does not hold together, or holds a number or a text that ELL cannot read, or a node that
            it cannot compute.
    """
    model.check_computable()
    writer = _Writer(digits)
    writer.map(model)
    return "".join(writer.parts)


class _Writer:
    """Collects the pieces of the text. ``indent`` is the column at which an object's closing brace stands."""

    def __init__(self, digits: int):
        self.parts: list[str] = []
        self.indent = 0
        self.format = f"%.{digits}g"

    # - values -

    def number(self, value: float) -> str:
        if isinstance(value, int):
            return str(value)
        if not math.isfinite(value):
            raise KwsError(f"An ELL model cannot hold the number {value}; was the training stable?")
        return self.format % value

    def numbers(self, values) -> str:
        if isinstance(values, np.ndarray):
            if not np.isfinite(values).all():
                raise KwsError("An ELL model cannot hold NaN or infinite weights; was the training stable?")
            return "[" + ", ".join(map(self.format.__mod__, values.tolist())) + "]"
        return "[" + ", ".join(map(self.number, values)) + "]"

    def string(self, value: str) -> str:
        # ELL's tokenizer skips spaces at the start of a text and takes a text that starts with punctuation for
        # that punctuation; what it would do with bytes beyond ASCII is undefined.
        if not value or value[0] in " ,:{}[]'" or not all(" " <= c <= "~" and c not in "\"'\\" for c in value):
            raise KwsError(f"ELL cannot read the text {value!r}; use plain letters, digits and inner punctuation.")
        return f'"{value}"'

    def unique_id(self, value: str) -> str:
        # ELL writes the indentation a second time between key and value.
        return " " * (self.indent + 2) + self.string(value)

    # - objects -

    def begin(self, kind: str, version: str) -> None:
        pad = " " * self.indent
        self.parts.append(f'{{\n{pad}  "_type": {self.string(kind)},\n{pad}  "_version": "{version}"')

    def end(self) -> None:
        self.parts.append("\n" + " " * self.indent + "}")

    def key(self, key: str) -> None:
        self.parts.append(",\n" + " " * (self.indent + 2) + f'"{key}": ')

    def property(self, p: Property, value: Any, owner: str = "") -> None:
        if p.optional and not value:
            return
        self.key(p.key)
        match p.kind:
            case "text":
                self.parts.append(self.string(value))
            case "unique_id":
                self.parts.append(self.unique_id(value))
            case "integer" | "real":
                self.parts.append(self.number(value))
            case "integers" | "floats":
                self.parts.append(self.numbers(value))
            case _:
                self.indent += 2
                if p.kind == "object":
                    self.struct(value)
                elif p.kind == "activation":
                    if value not in p.choices:
                        raise KwsError(f"The activation {value!r} is not supported; known are {', '.join(p.choices)}.")
                    self.begin(ACTIVATIONS[value], "0")
                    self.end()
                elif p.kind == "port":
                    self.port(p, value, owner)
                elif p.kind == "bag":
                    self.bag(value)
                self.indent -= 2

    def struct(self, value: Struct, version: str | None = None) -> None:
        self.begin(value.TYPE, version or value.VERSION)
        for name, p in value.properties():
            self.property(p, getattr(value, name), getattr(value, "id", ""))
        self.end()

    def port(self, p: Property, source: str, owner: str) -> None:
        self.begin(p.type_name, "0")
        self.property(Property("nodeId", "unique_id"), owner)
        self.property(Property("name", "text"), p.key)
        self.property(Property("type", "integer"), p.port_type)
        self.property(Property("input", "unique_id"), source)
        self.end()

    def bag(self, bag: dict[str, str]) -> None:
        self.begin("PropertyBag", "0")
        self.key("data")
        self.objects(bag.items(), self.key_value)
        self.end()

    def key_value(self, item: tuple[str, str]) -> None:
        self.begin("PropertyBag::KeyValue", "0")
        self.property(Property("k", "text"), item[0])
        self.key("v")
        self.indent += 2
        self.begin("Variant", "0")
        self.property(Property("type", "text"), "std::string")
        self.property(Property("value", "unique_id"), item[1])
        self.end()
        self.indent -= 2
        self.end()

    def objects(self, items, write_one) -> None:
        """A list of objects; ELL starts them at the column of the list's own key."""
        self.indent += 2
        pad = "\n" + " " * self.indent
        self.parts.append("[")
        for index, item in enumerate(items):
            self.parts.append((", " if index else "") + pad)
            write_one(item)
        self.parts.append("]")
        self.indent -= 2

    def unique_ids(self, key: str, ids: list[str]) -> None:
        self.key(key)
        self.parts.append("[" + ", ".join("\n" + " " * (self.indent + 4) + self.string(i) for i in ids) + "]")

    def map(self, model: Model) -> None:
        self.begin(model.TYPE, model.version)
        self.key("model")
        self.indent += 2
        self.begin("Model", "3" if model.metadata else model.model_version)
        self.key("nodes")
        self.objects(model.nodes, lambda node: self.struct(node, node.version))
        self.property(Property("metadata", "bag", optional=True), model.metadata)
        self.end()
        self.indent -= 2
        self.key("inputNames")
        self.parts.append("[" + ", ".join(map(self.string, model.input_names)) + "]")
        self.unique_ids("inputIds", model.input_ids)
        self.key("outputNames")
        self.parts.append("[" + ", ".join(map(self.string, model.output_names)) + "]")
        self.unique_ids("outputElements", model.output_elements)
        self.end()
