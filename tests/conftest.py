"""Settings of all tests: one thread, no colour, and fixtures that are made once."""

import os
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")

import pytest
import torch

torch.set_num_threads(1)

ROOT = Path(__file__).parent.parent
GOLDEN = Path(__file__).parent / "golden"


@pytest.fixture(scope="session")
def real_recordings() -> Path:
    """The subset of Speech Commands beside the checkout."""
    folder = ROOT.parent / "shared" / "speech_commands"
    if not folder.is_dir():
        pytest.skip("needs ../shared/speech_commands beside the checkout")
    return folder
