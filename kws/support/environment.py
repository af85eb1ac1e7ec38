"""What a result was made with."""

import ctypes
import os
import platform
import subprocess
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch

PACKAGES = ("kws", "torch", "torchaudio", "pytorch-lightning", "hydra-core", "onnx", "onnxruntime", "numpy")


def processor() -> str:
    """The processor's name."""
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()


def fast_precision() -> str:
    """Lightning's precision for training here: ``bf16-mixed`` where only a processor computes and multiplies bfloat16
    by itself, which makes a step of a GRU a third faster and one of an LSTM twice as fast; ``32-true`` elsewhere.
    """
    capabilities = torch.cpu.get_capabilities()
    bfloat16 = any(able for name, able in capabilities.items() if name.endswith("bf16"))
    return "bf16-mixed" if bfloat16 and not torch.cuda.is_available() else "32-true"


def keep_freed_memory() -> bool:
    """Have the C library keep freed memory for the next allocation; whether it could be told so (glibc alone can).

    A training step frees and asks again for hundreds of megabytes. Handed back to the system in between, every page
    of them costs a fault: a sixteenth of a CRNN's step, half of the time of augmentation.
    """
    trim_threshold, mmap_threshold = -1, -3  # names of malloc.h: M_TRIM_THRESHOLD, M_MMAP_THRESHOLD
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError, TypeError):
        return False
    # Some glibc take no more than 32 MiB for the second. Where larger blocks stay theirs too, a convolutional network's
    # steps take an eighth less.
    return bool(mallopt(trim_threshold, 2**31 - 1) and any(mallopt(mmap_threshold, size) for size in (2**30, 2**25)))


def git_commit() -> str | None:
    """The commit this package runs from, with a + where files have been changed since; None outside a checkout."""
    folder = Path(__file__).parent
    try:
        ask = ["git", "-C", str(folder)]
        commit = subprocess.run([*ask, "rev-parse", "HEAD"], capture_output=True, text=True, check=True).stdout.strip()
        changed = subprocess.run([*ask, "status", "--porcelain", "-uno"], capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return None
    return commit + ("+" if changed.stdout.strip() else "")


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def environment() -> dict[str, Any]:
    """Versions, commit and hardware."""
    return {
        "python": platform.python_version(),
        "packages": {package: _version(package) for package in PACKAGES},
        "git_commit": git_commit(),
        "processor": processor(),
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "gpu": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
        "platform": platform.platform(),
    }
