"""What the C library does with memory that is freed."""

import ctypes
import sys

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3  # of glibc's mallopt(3)
LARGE = 1 << 30  # bytes


def keep_freed_memory() -> bool:
    """Let the process keep what it frees, for the tensors of the next step.

    glibc hands large blocks back at once, and the kernel clears every page anew when a tensor of the same size is made
    a moment later: an eighth of the steps of a convolutional network. Hands back whether there is such a library.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None) if sys.platform == "linux" else None
    return mallopt is not None and all(mallopt(option, LARGE) for option in (M_MMAP_THRESHOLD, M_TRIM_THRESHOLD))
