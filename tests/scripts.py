"""The scripts at the top level, run in this process as a user would call them."""

import io
import os
import runpy
import sys
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soundfile
from hydra.core.global_hydra import GlobalHydra

ROOT = Path(__file__).parent.parent
TONES = {"high": 2200.0, "low": 300.0, "mid": 900.0}


@dataclass(frozen=True)
class Call:
    """How a script ended."""

    status: int
    out: str
    err: str

    @property
    def last_line(self) -> str:
        """What it printed last."""
        return self.out.strip().splitlines()[-1]


def call(script: str, *arguments: str) -> Call:
    """Run ``python <script>.py <arguments>`` and catch what it prints and how it ends.

    Training chooses no decoder at its end unless the arguments speak of calibration, for that takes seconds.
    """
    if script == "train" and not any("calibrat" in argument for argument in arguments):
        first = next((i for i, argument in enumerate(arguments) if "=" in argument), len(arguments))
        arguments = (*arguments[:first], "calibrate=false", *arguments[first:])  # options stay where they are
    old_argv, old_hydra = sys.argv, os.environ.pop("HYDRA_FULL_ERROR", None)
    GlobalHydra.instance().clear()
    out, err, status = io.StringIO(), io.StringIO(), 0
    try:
        sys.argv = [f"{script}.py", *arguments]
        with redirect_stdout(out), redirect_stderr(err):
            runpy.run_path(str(ROOT / f"{script}.py"), run_name="__main__")
    except SystemExit as end:
        status = end.code if isinstance(end.code, int) else 1
    finally:
        sys.argv = old_argv
        os.environ.pop("HYDRA_FULL_ERROR", None)
        if old_hydra is not None:
            os.environ["HYDRA_FULL_ERROR"] = old_hydra
        GlobalHydra.instance().clear()
    return Call(status, out.getvalue(), err.getvalue())


def tone_corpus(folder: Path, clips: int = 24, rate: int = 8000) -> Path:
    """Three "words" that are tones of different pitch in noise, by many speakers, with both lists."""
    random = np.random.default_rng(0)
    lists = {"validation": [], "testing": []}
    for word, hertz in TONES.items():
        (folder / word).mkdir(parents=True)
        for speaker in range(clips):
            time = np.arange(rate) / rate
            tone = np.sin(2 * np.pi * hertz * (1 + 0.05 * random.normal()) * time) * (np.abs(time - 0.5) < 0.3)
            samples = 0.3 * tone + 0.02 * random.normal(size=rate)
            name = f"{word}/{speaker:08x}_nohash_0.wav"
            soundfile.write(folder / name, samples, rate, subtype="PCM_16")
            split = {0: "validation", 1: "testing"}.get(speaker % 4)
            if split:
                lists[split].append(name)
    (folder / "_background_noise_").mkdir()
    soundfile.write(folder / "_background_noise_" / "hiss.wav", 0.1 * random.normal(size=3 * rate), rate)
    for split, names in lists.items():
        (folder / f"{split}_list.txt").write_text("\n".join(names) + "\n")
    return folder
