"""What the process asks of the machine."""

import subprocess
import sys

import pytest

FAULTS = """
import resource, sys
import torch
from kws.support.environment import keep_freed_memory

if sys.argv[1] == "keep" and not keep_freed_memory():
    sys.exit("unknown")


def use():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    tensors = [torch.ones(int(sys.argv[2]) << 18) for _ in range(8)]
    del tensors
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before


use()
print(min(use() for _ in range(3)))
"""


def faults(what, megabytes):
    done = subprocess.run([sys.executable, "-c", FAULTS, what, str(megabytes)], capture_output=True, text=True)
    if done.stderr.strip() == "unknown":
        pytest.skip("this C library cannot be told to keep memory")
    assert done.returncode == 0, done.stderr
    return int(done.stdout)


def test_freed_memory_is_used_again():
    """Eight tensors of 8 MiB are 16,384 pages of 4 KiB; kept pages cause no fault."""
    assert faults("keep", 8) < 200


def test_large_blocks_are_kept_too():
    """Above 32 MiB glibc by itself always gives them back, below only until the first is freed."""
    assert faults("keep", 40) < 200 < faults("leave", 40)
