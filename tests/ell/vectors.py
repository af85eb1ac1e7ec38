"""Where the files that ELL wrote are: a selection in the repository, all of them beside it on some machines."""

from pathlib import Path

import numpy as np

ROOT = Path(__file__).parents[2]
GOLDEN = ROOT / "tests" / "golden" / "ell"
SHARED = ROOT.parent / "shared" / "ell" / "vectors"

FEATURIZERS = sorted((GOLDEN / "featurizer").glob("*.ell"))
CLASSIFIERS = sorted((GOLDEN / "classifier").glob("*.ell"))
VAD_CLASSIFIERS = sorted((GOLDEN / "vad").glob("*_vad.ell"))
FASTGRNNS = sorted((GOLDEN / "fastgrnn").glob("*/model.ell"))
CEPSTRA = GOLDEN / "dct" / "f8k_dct13_slice.ell"
VAD = GOLDEN / "vad" / "vad.ell"
ALL = [*FEATURIZERS, *CLASSIFIERS, *VAD_CLASSIFIERS, *FASTGRNNS, VAD]


def beside(path: Path, suffix: str) -> np.ndarray:
    """The array that belongs to an .ell or .onnx file."""
    return np.load(path.with_suffix(suffix))


def names(path: Path) -> str:
    """How pytest calls a file."""
    return path.parent.name if path.stem == "model" else path.stem
