"""What all pictures have in common: words as they are written, and no result lost for one that cannot be drawn."""

from collections.abc import Iterator
from contextlib import contextmanager

from kws.support.errors import KwsError


def plain(text: str) -> str:
    """A word or path for matplotlib, which takes what stands between two dollar signs for a formula."""
    return text.replace("$", r"\$")


@contextmanager
def without_harm(what: str) -> Iterator[None]:
    """Draw, or log, what is nice to have: an error in it is said, and nothing else stops."""
    try:
        yield
    except KwsError:
        raise
    except Exception as error:
        print(f"{what} is left out ({type(error).__name__}: {' '.join(str(error).split())[:200]}).", flush=True)
