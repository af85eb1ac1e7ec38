"""YAML from anywhere: values only, and no more of them than the file is long."""

from pathlib import Path

import yaml

LARGEST = 1 << 20  # characters; a run's configuration has five thousand
DEEPEST = 50  # lists and mappings within each other


def checked(text: str) -> str:
    """`text` itself, where it is YAML that costs no more to read than it is long.

    Raises:
        ValueError: it has aliases, of which a few lines can make a thousand million values, or is too long or too deep.
        yaml.YAMLError: it is no YAML.
    """
    if len(text) > LARGEST:
        raise ValueError(f"{len(text)} characters long; {LARGEST} are read at most")
    depth = 0
    for event in yaml.parse(text, Loader=yaml.SafeLoader):
        depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
        if isinstance(event, yaml.AliasEvent):
            raise ValueError(f"line {event.start_mark.line + 1} has an alias (*{event.anchor}), which is not read")
        if depth > DEEPEST:
            raise ValueError(f"line {event.start_mark.line + 1} lies more than {DEEPEST} lists and mappings deep")
    return text


def parse(text: str):
    """The values in `text`; raises as `checked` does."""
    return yaml.safe_load(checked(text))


def read(path: Path) -> str:
    """The text of a YAML file, checked; raises OSError as well."""
    return checked(path.read_text(encoding="utf-8"))
