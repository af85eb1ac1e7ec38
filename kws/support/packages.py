"""Files that lie in installed packages, which are not imported for them."""

import importlib.util
from pathlib import Path

from kws.support.download import sha256_of
from kws.support.errors import KwsError


def folder_of(package: str) -> Path | None:
    """The folder of an installed package; None where it is not installed."""
    try:
        found = importlib.util.find_spec(package)
    except ModuleNotFoundError:  # the package that it is part of
        return None
    return Path(found.submodule_search_locations[0]) if found and found.submodule_search_locations else None


def weights_in(package: str, file: str, sha256: str, setting: str, missing: str, other: str) -> Path:
    """A file of weights in an installed package.

    Args:
        package, file: where it lies.
        sha256: of its content.
        setting: the configuration's, which asks for it; errors begin with it.
        missing: what to do where the package is not installed.
        other: what to do where the file is not there or is another.

    Raises:
        KwsError: either of these.
    """
    folder = folder_of(package)
    if folder is None:
        raise KwsError(f"{setting}: its weights are not installed; {missing}.")
    if not (folder / file).is_file() or sha256_of(folder / file) != sha256:
        raise KwsError(f"{setting}: {folder / file} is not there or holds other weights; {other}.")
    return folder / file
