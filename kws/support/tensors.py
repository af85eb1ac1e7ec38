"""Files of tensors and plain data, read so that a file from anywhere runs no code and costs no more than its size."""

import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from kws.support import files
from kws.support.errors import KwsError

LARGEST_PLAIN_PART = 1 << 26  # bytes of a file's pickle: settings and names, never the numbers
# Arrays of numbers, which checkpoints of earlier versions hold. By both names that NumPy has given the function.
ARRAYS = [
    (np.zeros(0).__reduce__()[0], "numpy._core.multiarray._reconstruct"),
    (np.zeros(0).__reduce__()[0], "numpy.core.multiarray._reconstruct"),
    np.ndarray,
    np.dtype,
    np.dtypes.Float64DType,
    np.dtypes.Float32DType,
    np.dtypes.Int64DType,
]


def save(content: Any, path: str | Path) -> None:
    """Write tensors and plain data, whole or not at all. Raises KwsError where they cannot be written."""
    with files.atomic(path) as temporary:
        try:
            torch.save(content, temporary)
        except RuntimeError as error:  # what torch makes of a full disk
            if "PytorchStreamWriter" not in str(error):
                raise
            raise KwsError(
                f"{str(path)!r} cannot be written; make room on the disk, and go on with resume=."
            ) from error


def load(path: str | Path) -> Any:
    """Read what `save` wrote, onto the processor.

    Raises:
        KwsError: no such file, damaged, of another kind, packed so that it would be larger than it is, or holding
            anything but tensors and plain data.
    """
    path = Path(path)
    try:
        _refuse_absurd(path)
        with torch.serialization.safe_globals(ARRAYS):
            return torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError as error:
        raise KwsError(f"there is no file {str(path)!r}.") from error
    except KwsError:
        raise
    except Exception as error:  # damage has a dozen names, MemoryError and RecursionError among them
        raise KwsError(
            f"{str(path)!r} cannot be read: it is damaged, another kind of file, or holds more than tensors and plain "
            "data, which is not loaded; make it again."
        ) from error


def _refuse_absurd(path: Path) -> None:
    """torch packs nothing, so a file that says its parts are larger than itself was made to fill the memory."""
    with zipfile.ZipFile(path) as archive:
        parts = archive.infolist()
        packed = any(part.compress_type != zipfile.ZIP_STORED for part in parts)
        plain = max((part.file_size for part in parts if part.filename.endswith(".pkl")), default=0)
        if packed or sum(part.file_size for part in parts) > path.stat().st_size or plain > LARGEST_PLAIN_PART:
            raise KwsError(f"{str(path)!r} is packed as no file of tensors is, and is not read; make it again.")
        if (part := archive.testzip()) is not None:  # torch itself does not look at the checksums
            raise KwsError(f"{str(path)!r} is damaged (in {part}); make it again.")


def not_finite(weights: Mapping[str, Tensor]) -> str | None:
    """The name of the first of these tensors that holds NaN or infinity, or None."""
    return next((name for name, tensor in weights.items() if not torch.isfinite(tensor).all()), None)
