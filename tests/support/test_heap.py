"""Freed memory that the process keeps costs no page faults when it is used again."""

import subprocess
import sys

import pytest

SCRIPT = """
import resource, sys
import torch
from kws.support.heap import keep_freed_memory

faults = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_minflt
kept = "keep" in sys.argv and keep_freed_memory()
for _ in range(15):
    torch.ones(8 << 20)  # 32 MiB
before = faults()
for _ in range(10):
    torch.ones(8 << 20)
print(faults() - before, int(kept))
"""


def faults(*arguments: str) -> tuple[int, int]:
    """Page faults of ten tensors made one after the other, and whether the memory was kept."""
    done = subprocess.run([sys.executable, "-c", SCRIPT, *arguments], capture_output=True, text=True, check=True)
    count, kept = done.stdout.split()
    return int(count), int(kept)


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="counts page faults of glibc")
def test_a_tensor_takes_the_place_of_the_last_one():
    least, kept = faults("keep")
    if not kept:
        pytest.skip("no mallopt")
    most, _ = faults()
    assert least < 50 and most > 10 * max(least, 10)
