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


@pytest.mark.parametrize("megabytes", [8, 40])
def test_freed_memory_is_used_again(megabytes):
    """Eight tensors of 8 MiB are 16,384 pages of 4 KiB; kept pages cause no fault."""
    assert faults("keep", megabytes) < 200 < faults("leave", megabytes)
