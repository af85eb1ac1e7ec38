"""The C of a spotter behind `ctypes`: a runtime as `kws.spotter.runtime` has it, with its detections and settings."""

import ctypes
import tempfile
from pathlib import Path

import numpy as np

from kws.native.builds import build_library, host_library
from kws.native.folder import write_sources
from kws.native.sources import DETECTOR_SETTINGS
from kws.program import Program
from kws.spotter import Detection, Spotter
from kws.spotter.runtime import Outputs
from kws.support.errors import KwsError

NUMBERS = ("sample_rate", "hop_size", "labels", "words", "features", "detector", "max_smoothing")
ALL, NETWORK = 0, 1  # of kws_part


class _Detection(ctypes.Structure):
    _fields_ = (("label", ctypes.c_int32), ("confidence", ctypes.c_float), ("sample", ctypes.c_uint64))


class CModel:
    """A compiled model.

    A runtime as `kws.spotter.runtime` has it: `start` gives a state, `hear` hears whole hops, `detect` any number of
    samples. A state is an array (streams, state_bytes) of bytes; it is passed in, left as it was, and the next one is
    handed back.

    Args:
        path: the shared library. Loading it runs its code: name only one that you trust.

    Attributes:
        name, labels, sample_rate, hop_size: see `kws.spotter.runtime`.
        num_features: that the featurizer makes of a hop.
        has_detector: whether it has a voice activity detector.
        max_smoothing: most hops over which the decoder can average.
        state_bytes: of a stream.

    Raises:
        KwsError: it cannot be loaded, or is no library of this kind.
    """

    name = "c"

    def __init__(self, path: str | Path):
        self._keep: object = None
        try:
            self.library = _declared(ctypes.CDLL(str(Path(path).resolve())))
        except (OSError, AttributeError) as error:
            raise KwsError(f"{str(path)!r} cannot be loaded as a model in C ({error}); export it again.") from error
        numbers = {name: self.library.kws_library_number(i) for i, name in enumerate(NUMBERS)}
        self.sample_rate, self.hop_size = numbers["sample_rate"], numbers["hop_size"]
        self.num_features, self.max_smoothing = numbers["features"], numbers["max_smoothing"]
        self.has_detector = bool(numbers["detector"])
        self.labels = tuple(self.library.kws_library_label(i).decode() for i in range(numbers["labels"]))
        self.state_bytes = self.library.kws_library_state_bytes()
        self._settings = _settings_type(len(self.labels), self.has_detector)
        sizes = (self.library.kws_library_settings_bytes(), self.library.kws_library_detection_bytes())
        if sizes != (ctypes.sizeof(self._settings), ctypes.sizeof(_Detection)):
            raise KwsError(f"{str(path)!r} was written by another version of kws; export it again.")

    @classmethod
    def in_folder(cls, folder: str | Path) -> "CModel":
        """The model in a folder that export=c wrote, built anew where its library does not fit this machine.

        It runs the code in the folder: name only one that you trust.

        Raises:
            KwsError: there is no model, or no compiler where one is needed.
        """
        library, keep = host_library(Path(folder))
        model = cls(library)
        model._keep = keep
        return model

    @classmethod
    def of(cls, spotter: Spotter, program: Program | None = None) -> "CModel":
        """Write, compile and load the C of a spotter. Of a stored one, no code runs but this package's.

        Raises:
            KwsError: there is no compiler, or no C for the spotter.
        """
        keep = tempfile.TemporaryDirectory(prefix="kws_native_")
        write_sources(spotter, Path(keep.name), program)
        model = cls(build_library(Path(keep.name)))
        model._keep = keep
        return model

    def start(self, streams: int = 1) -> np.ndarray:
        """The state of `streams` streams that have heard nothing yet."""
        state = np.zeros((streams, self.state_bytes), np.uint8)
        for row in state:
            self.library.kws_init(_pointer(row))
        return state

    def hear(self, samples: np.ndarray, state: np.ndarray) -> tuple[Outputs, np.ndarray]:
        """The next hops, (streams, T · hop): `Outputs` and the next state."""
        return self._process(samples, state, None)

    def listen(self, samples: np.ndarray, state: np.ndarray) -> tuple[Outputs, np.ndarray, np.ndarray]:
        """`hear` with the features (streams, T, F) in the middle."""
        features = np.zeros((len(samples), len(samples[0]) // self.hop_size, self.num_features), np.float32)
        outputs, state = self._process(samples, state, features)
        return outputs, features, state

    def _process(
        self, samples: np.ndarray, state: np.ndarray, features: np.ndarray | None
    ) -> tuple[Outputs, np.ndarray]:
        samples, state = np.ascontiguousarray(samples, np.float32), _copied(state)
        streams, count = samples.shape
        if streams != len(state) or count % self.hop_size:
            raise KwsError(
                f"samples of shape {samples.shape} came with the state of {len(state)} streams; they must be as many, "
                f"and a whole number of hops of {self.hop_size}."
            )
        hops = count // self.hop_size
        outputs = np.empty((streams, hops, len(self.labels)), np.float32)
        voice = np.empty((streams, hops), np.uint8)
        pointers = (_pointer(outputs), _pointer(voice), None if features is None else _pointer(features))
        self.library.kws_library_process(_pointer(state), streams, hops, _pointer(samples), *pointers)
        return Outputs(outputs, voice.astype(np.int64) if self.has_detector else None), state

    def detect(self, samples: np.ndarray, state: np.ndarray) -> tuple[list[list[Detection]], np.ndarray]:
        """The words in the next samples of each stream, (streams, S) float32 or int16; S may be anything from 0 on."""
        samples, state = np.atleast_2d(samples), _copied(state)
        short = samples.dtype == np.int16
        samples = np.ascontiguousarray(samples, np.int16 if short else np.float32)
        hear = self.library.kws_hear if short else self.library.kws_hear_float
        found = (_Detection * (samples.shape[1] // self.hop_size + 1))()
        detections = []
        for row, own in zip(samples, state, strict=True):
            count = hear(_pointer(own), _pointer(row), row.size, found, len(found))
            detections.append([self._detection(item) for item in found[:count]])
        return detections, state

    def _detection(self, item: _Detection) -> Detection:
        return Detection(self.labels[item.label], item.sample / self.sample_rate, item.confidence)

    def decode(
        self, log_probabilities: np.ndarray, samples: np.ndarray, voice: np.ndarray | None, state: np.ndarray
    ) -> tuple[list[Detection], np.ndarray]:
        """What the decoder alone makes of the next hops of one stream, whatever computed them.

        Args:
            log_probabilities: (T, C).
            samples: (T · hop,) in [-1, 1], for the noise gate.
            voice: (T,) the detector's signal, or None without one.
            state: where the stream stands.
        """
        state, found, one = _copied(state), [], _Detection()
        hops = np.ascontiguousarray(samples, np.float32).reshape(-1, self.hop_size)
        voice = np.ones(len(hops), np.int64) if voice is None else voice
        for row, hop, speaks in zip(np.ascontiguousarray(log_probabilities, np.float32), hops, voice, strict=True):
            self.library.kws_gate_hop(_pointer(state), _pointer(hop), int(speaks))
            if self.library.kws_decode(_pointer(state), _pointer(row), ctypes.byref(one)):
                found.append(self._detection(one))
        return found, state

    def reset(self, state: np.ndarray, network_alone: bool = False) -> np.ndarray:
        """A stream's start, with the state's settings; or the same state with a network that has forgotten."""
        state = _copied(state)
        for row in state:
            self.library.kws_reset(_pointer(row), NETWORK if network_alone else ALL)
        return state

    def settings(self, state: np.ndarray, stream: int = 0) -> ctypes.Structure:
        """kws_settings of a stream, as in kws_model.h. What is written to it, is changed in the state."""
        row = state[stream]
        address = self.library.kws_library_settings(_pointer(row))
        settings = self._settings.from_address(address)
        settings.of_state = row  # it lives in this array's memory
        return settings

    def detector(self, state: np.ndarray, stream: int = 0) -> tuple[float, float]:
        """Level and noise floor of the last hop; zeros without a detector."""
        level, noise_floor = ctypes.c_float(), ctypes.c_float()
        self.library.kws_library_detector(_pointer(state[stream]), ctypes.byref(level), ctypes.byref(noise_floor))
        return level.value, noise_floor.value

    def totals(self, state: np.ndarray) -> np.ndarray:
        """What an integer network added up in the last hop of each stream, before it was scaled to scores: (streams, C)
        int32.

        Raises:
            KwsError: the network is one of floats.
        """
        totals = np.zeros((len(state), len(self.labels)), np.int32)
        for row, own in zip(np.ascontiguousarray(state), totals, strict=True):
            if not self.library.kws_library_totals(_pointer(row), _pointer(own)):
                raise KwsError("the model computes in float32 and has no totals; export it with export.c.weights=int8.")
        return totals


def _copied(state: np.ndarray) -> np.ndarray:
    return np.array(state, np.uint8, order="C")


def _pointer(array: np.ndarray) -> int:
    return array.__array_interface__["data"][0]  # a fifth of the time that array.ctypes takes


def _settings_type(labels: int, detector: bool) -> type[ctypes.Structure]:
    """kws_settings."""
    members: list[tuple[str, type]] = [("threshold", ctypes.c_float * labels)]
    members += [(name, ctypes.c_int32) for name in ("smoothing", "consecutive", "refractory")]
    if detector:
        inner = [(name, ctypes.c_float) for name in DETECTOR_SETTINGS]
        members.append(("detector", type("DetectorSettings", (ctypes.Structure,), {"_fields_": inner})))
    return type("Settings", (ctypes.Structure,), {"_fields_": members})


def _declared(library: ctypes.CDLL) -> ctypes.CDLL:
    """The library with the types of its functions."""
    pointer, size, integer = ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int
    hear = (size, [pointer, pointer, size, pointer, size])
    for name, (result, arguments) in {
        "kws_init": (None, [pointer]),
        "kws_reset": (None, [pointer, integer]),
        "kws_gate_hop": (None, [pointer, pointer, integer]),
        "kws_decode": (integer, [pointer, pointer, pointer]),
        "kws_hear": hear,
        "kws_hear_float": hear,
        "kws_library_state_bytes": (size, []),
        "kws_library_settings_bytes": (size, []),
        "kws_library_detection_bytes": (size, []),
        "kws_library_number": (integer, [integer]),
        "kws_library_label": (ctypes.c_char_p, [integer]),
        "kws_library_settings": (pointer, [pointer]),
        "kws_library_detector": (None, [pointer, pointer, pointer]),
        "kws_library_totals": (integer, [pointer, pointer]),
        "kws_library_process": (None, [pointer, size, size, pointer, pointer, pointer, pointer]),
    }.items():
        function = getattr(library, name)
        function.restype, function.argtypes = result, arguments
    return library
