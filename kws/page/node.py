"""The page's own engine, run in node, where there is one: what a browser will compute."""

import json
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import NamedTuple

import numpy as np

from kws.spotter import Detection
from kws.support.errors import KwsError

CHECK = Path(__file__).with_name("check.mjs")


class HeardInNode(NamedTuple):
    """What the engine says of T hops.

    Attributes:
        posteriors: (T, C).
        voice: (T,) int64; zeros where no detector is in use.
        detections: with the settings that are stored.
    """

    posteriors: np.ndarray
    voice: np.ndarray
    detections: list[Detection]


def hear_in_node(folder: Path, samples: np.ndarray, labels: int) -> HeardInNode | None:
    """Hear samples (S,) with the engine of a page's folder; None where there is no node.

    Raises:
        KwsError: the engine fails.
    """
    node = shutil.which("node")
    if node is None:
        return None
    with tempfile.TemporaryDirectory(prefix="kws_page_") as temporary:
        given, made = Path(temporary) / "samples", Path(temporary) / "made"
        np.ascontiguousarray(samples, np.float32).tofile(given)
        done = subprocess.run([node, CHECK, folder, given, made], capture_output=True, text=True)
        if done.returncode:
            raise KwsError(f"the page's engine fails in node: {done.stderr.strip()[-400:]}")
        rows = np.fromfile(made, np.float32).reshape(-1, 1 + labels)
    detections = [Detection(*item) for item in json.loads(done.stdout)]
    return HeardInNode(rows[:, 1:], rows[:, 0].astype(np.int64), detections)
