"""ELL's featurizer: samples to log-mel features or cepstra, whole clips and streams by the same arithmetic.

The steps and their constants are those of Microsoft's Embedded Learning Library (``make_featurizer.py``), as
established by running it; tests compare with the numbers it computed.
"""

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from kws.networks.classifier import array
from kws.program import FEATURES, SAMPLES, Chain, Step
from kws.program import steps as s
from kws.support.errors import KwsError

PRE_EMPHASIS = 0.97
INT16_SCALE = 32768.0
LARGEST_FFT, LARGEST_FILTERBANK = 1 << 16, 1 << 24


class FeaturizerState(NamedTuple):
    """What a featurizer remembers of each of B streams. All zeros at the start.

    Attributes:
        buffer: (B, window_size - hop_size) samples that the next window still contains.
        previous: (B, 1) last sample, for the pre-emphasis filter.
    """

    buffer: Tensor
    previous: Tensor


class Featurizer(nn.Module):
    """One feature vector per hop of samples.

    Args:
        sample_rate: Hz.
        window_size: samples in an analysis window.
        hop_size: samples between windows; ELL's ``input_buffer_size``.
        fft_size: FFT length; `window_size` rounded up to a power of two when None.
        filterbank: ``mel`` or ``linear``, ELL's, or ``slaney``, librosa's and torchaudio's mel scale with triangles of
            equal area.
        num_filters: triangles in the filterbank.
        hamming: weigh the window with a symmetric Hamming window; otherwise it is rectangular.
        hann: weigh it with a periodic Hann window instead.
        low_hz, high_hz: edges of the filterbank; the highest of a spectrum when None. For ``slaney`` alone.
        pre_emphasis: ELL's IIR node, y[t] = x[t] - 0.97 x[t-1].
        power_spectrum: squared magnitude over `fft_size` in place of the magnitude.
        log: natural logarithm of filterbank output + `log_delta`.
        log_delta: offset in the logarithm; ELL's default is 1.
        dct: how many DCT-II coefficients to keep (cepstra), or None for none.
        auto_scale: compute on samples in [-1, 1]. When False, on the 16-bit integer scale (times 32768),
            for a device that hands over raw samples.

    Raises:
        KwsError: when the settings contradict each other, naming the one to change.
    """

    def __init__(
        self,
        sample_rate: int = 8000,
        window_size: int = 256,
        hop_size: int = 256,
        fft_size: int | None = None,
        filterbank: str = "mel",
        num_filters: int = 40,
        hamming: bool = False,
        pre_emphasis: bool = False,
        power_spectrum: bool = False,
        log: bool = True,
        log_delta: float = 1.0,
        dct: int | None = None,
        auto_scale: bool = True,
        hann: bool = False,
        low_hz: float = 0.0,
        high_hz: float | None = None,
    ):
        super().__init__()
        self.settings = {name: value for name, value in locals().items() if name not in ("self", "__class__")}
        self._refuse_contradictions()
        self.sample_rate = sample_rate
        self.window_size = window_size
        self.hop_size = hop_size
        self.fft_size = fft_size or 1 << (window_size - 1).bit_length()
        self.pre_emphasis = pre_emphasis
        self.power_spectrum = power_spectrum
        self.log_delta = log_delta if log else None
        self.scale = 1.0 if auto_scale else INT16_SCALE
        self.num_features = dct or num_filters

        window = hamming_window(window_size) if hamming else hann_window(window_size) if hann else None
        weights = filterbank_weights(filterbank, num_filters, self.fft_size, sample_rate, low_hz, high_hz)
        cosines = dct_matrix(num_filters, dct) if dct else None
        # Constants follow the settings, so they are no part of a checkpoint.
        self.register_buffer("window", _optional(window), persistent=False)
        self.register_buffer("filters", _optional(weights), persistent=False)  # (fft_size / 2 + 1, num_filters)
        self.register_buffer("cosines", _optional(cosines), persistent=False)  # (num_filters, dct)

    def _refuse_contradictions(self) -> None:
        s = self.settings
        for name in ("sample_rate", "window_size", "hop_size", "num_filters"):
            if s[name] < 1:
                raise KwsError(f"featurizer.{name}={s[name]} must be at least 1.")
        if s["hop_size"] > s["window_size"]:
            raise KwsError(
                f"featurizer.hop_size={s['hop_size']} is larger than featurizer.window_size={s['window_size']}, "
                "so samples would be skipped; make the window at least one hop."
            )
        if s["fft_size"] is not None and s["fft_size"] < s["window_size"]:
            raise KwsError(
                f"featurizer.fft_size={s['fft_size']} is smaller than featurizer.window_size={s['window_size']}; "
                "leave it null to have it follow the window."
            )
        size = s["fft_size"] or s["window_size"]
        if size > LARGEST_FFT or size * s["num_filters"] > LARGEST_FILTERBANK:
            raise KwsError(
                f"featurizer: {s['num_filters']} filters over windows of {size} samples are more than can be meant; "
                "lower featurizer.window_size or featurizer.num_filters."
            )
        if s["filterbank"] not in ("mel", "linear", "slaney"):
            raise KwsError(f"featurizer.filterbank={s['filterbank']!r} is unknown; choose mel, linear or slaney.")
        edges, nyquist = (s["low_hz"], s["high_hz"]), s["sample_rate"] / 2
        if s["filterbank"] != "slaney" and edges != (0.0, None):
            raise KwsError("featurizer.low_hz and featurizer.high_hz are for featurizer.filterbank=slaney alone.")
        if not 0 <= edges[0] < (nyquist if edges[1] is None else edges[1]) <= nyquist:
            raise KwsError(
                f"featurizer.low_hz={edges[0]} and featurizer.high_hz={edges[1]} must rise, from 0 to {nyquist:g} Hz."
            )
        if s["hann"] and s["hamming"]:
            raise KwsError("featurizer.hann and featurizer.hamming are two windows; choose one.")
        if s["log"] and not s["log_delta"] > 0:
            raise KwsError(f"featurizer.log_delta={s['log_delta']} must be above 0, for silence has no logarithm.")
        if s["dct"] is not None and not 1 <= s["dct"] <= s["num_filters"]:
            raise KwsError(
                f"featurizer.dct={s['dct']} must lie between 1 and featurizer.num_filters={s['num_filters']}."
            )

    @property
    def hop_seconds(self) -> float:
        """Seconds between two feature vectors."""
        return self.hop_size / self.sample_rate

    def initial_state(self, streams: int = 1, device: torch.device | str | None = None) -> FeaturizerState:
        """The state of `streams` streams that have heard nothing yet."""
        device = device or self.filters.device
        return FeaturizerState(
            buffer=torch.zeros(streams, self.window_size - self.hop_size, device=device),
            previous=torch.zeros(streams, 1, device=device),
        )

    def forward(self, waveform: Tensor) -> Tensor:
        """Features of whole clips.

        Args:
            waveform: (B, S) samples in [-1, 1].

        Returns:
            (B, S // hop_size, num_features); samples after the last whole hop are left out.
        """
        frames = waveform.shape[-1] // self.hop_size
        features, _ = self.stream(
            waveform[:, : frames * self.hop_size], self.initial_state(len(waveform), waveform.device)
        )
        return features

    def step(self, samples: Tensor, state: FeaturizerState) -> tuple[Tensor, FeaturizerState]:
        """One hop of each stream: (B, hop_size) samples to (B, num_features)."""
        features, state = self.stream(samples, state)
        return features.squeeze(1), state

    def stream(self, samples: Tensor, state: FeaturizerState) -> tuple[Tensor, FeaturizerState]:
        """The next hops of B streams.

        Args:
            samples: (B, T * hop_size) samples in [-1, 1].
            state: where the streams stand.

        Returns:
            (B, T, num_features) and the state after the last hop.
        """
        if samples.shape[-1] % self.hop_size:
            raise ValueError(f"{samples.shape[-1]} samples are not a whole number of hops of {self.hop_size}")
        samples = samples * self.scale
        previous = state.previous
        if self.pre_emphasis and samples.shape[-1]:
            delayed = torch.cat([previous, samples[:, :-1]], dim=1)
            samples, previous = samples - PRE_EMPHASIS * delayed, samples[:, -1:]
        heard = torch.cat([state.buffer, samples], dim=1)  # (B, window - hop + T * hop)
        frames = samples.shape[-1] // self.hop_size
        if frames:
            windows = heard.unfold(1, self.window_size, self.hop_size)  # (B, T, window)
            features = self.window_features(windows)
        else:
            features = samples.new_zeros(len(samples), 0, self.num_features)
        return features, FeaturizerState(heard[:, heard.shape[1] - state.buffer.shape[1] :], previous)

    def window_features(self, windows: Tensor) -> Tensor:
        """Features of windows that are already filtered and buffered: (…, window_size) to (…, num_features)."""
        if self.window is not None:
            windows = windows * self.window
        spectrum = torch.fft.rfft(windows, n=self.fft_size)  # (…, K) with K = fft_size / 2 + 1
        # The magnitude by its squares: PyTorch's abs() of complex numbers takes twice as long.
        spectrum = spectrum.real.square() + spectrum.imag.square()
        spectrum = spectrum / self.fft_size if self.power_spectrum else spectrum.sqrt()
        features = spectrum @ self.filters  # (…, num_filters)
        if self.log_delta is not None:
            features = (features + self.log_delta).log()
        if self.cosines is not None:
            features = features @ self.cosines  # (…, dct)
        return features

    def filter_centres(self) -> Tensor:
        """Frequency of each filter's peak, (F,) in Hz, before it is put on a bin."""
        names = ("filterbank", "num_filters", "sample_rate", "low_hz", "high_hz")
        points = filterbank_points(*(self.settings[name] for name in names))
        return torch.from_numpy(points[1:-1]).float()

    def steps(self) -> list[Step]:
        """What it computes of a hop of samples, as steps; the last one is called ``features``."""
        chain = Chain(SAMPLES)
        chain.add(s.Clean, "clean")
        if self.pre_emphasis:
            chain.add(s.PreEmphasis, "pre_emphasis", factor=PRE_EMPHASIS)
        weights = None if self.window is None else array(self.window)
        sizes = {"window_size": self.window_size, "hop_size": self.hop_size}
        chain.add(s.Window, "window", **sizes, weights=weights, scale=self.scale)
        chain.add(s.Spectrum, "spectrum", fft_size=self.fft_size, power=self.power_spectrum)
        kind = self.settings["filterbank"]
        rest = [(s.Filterbank, {"kind": kind, "sample_rate": self.sample_rate, "weights": array(self.filters)})]
        if self.log_delta is not None:
            rest.append((s.Logarithm, {"delta": self.log_delta}))
        if self.cosines is not None:
            rest.append((s.Cosines, {"weights": array(self.cosines)}))
        for i, (step, constants) in enumerate(rest, 1):
            chain.add(step, FEATURES if i == len(rest) else step.__name__.lower(), **constants)
        return chain.steps


def _optional(array: np.ndarray | None) -> Tensor | None:
    return None if array is None else torch.from_numpy(array.astype(np.float32))


def hamming_window(size: int) -> np.ndarray:
    """The symmetric Hamming window, 0.54 - 0.46 cos(2πn / (N - 1))."""
    return np.hamming(size)


def mel(hertz: np.ndarray | float) -> np.ndarray | float:
    """Hz to mel, 1127 ln(1 + f / 700) (O'Shaughnessy; the "HTK" formula)."""
    return 1127.0 * np.log1p(np.asarray(hertz) / 700.0)


def inverse_mel(mels: np.ndarray) -> np.ndarray:
    """Mel to Hz."""
    return 700.0 * np.expm1(mels / 1127.0)


def hann_window(size: int) -> np.ndarray:
    """Periodic: one that repeats adds up to a constant."""
    return 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(size) / size)


def slaney_mel(hertz: np.ndarray | float) -> np.ndarray:
    """Linear up to 1,000 Hz, 15 mel; then 27 mel for a factor of 6.4 (Slaney, "Auditory Toolbox", 1998)."""
    hertz = np.asarray(hertz, np.float64)
    return np.where(hertz < 1000, hertz * 3 / 200, 15 + 27 * np.log(np.maximum(hertz, 1) / 1000) / np.log(6.4))


def inverse_slaney_mel(mels: np.ndarray) -> np.ndarray:
    """The frequency in Hz."""
    return np.where(mels < 15, mels * 200 / 3, 1000 * np.exp((mels - 15) * np.log(6.4) / 27))


def filterbank_points(
    filterbank: str, num_filters: int, sample_rate: int, low_hz: float = 0.0, high_hz: float | None = None
) -> np.ndarray:
    """The `num_filters + 2` frequencies in Hz at which triangles start, peak and end: equally spaced in mel or Hz."""
    high = sample_rate / 2 if high_hz is None else high_hz
    if filterbank == "slaney":
        return inverse_slaney_mel(np.linspace(slaney_mel(low_hz), slaney_mel(high), num_filters + 2))
    if filterbank == "mel":
        return inverse_mel(np.linspace(mel(low_hz), mel(high), num_filters + 2))
    return np.linspace(low_hz, high, num_filters + 2)


def filterbank_bins(filterbank: str, num_filters: int, fft_size: int, sample_rate: int) -> np.ndarray:
    """The `num_filters + 2` FFT bins at which the triangles start, peak and end.

    Mel points lie equally spaced in mel and fall on bin ⌊f (N + 1) / rate⌋. Linear points lie equally spaced in Hz,
    and ELL computes their bins with the number of bins N/2 + 1 in the place of N: ⌊f (N/2 + 2) / rate⌋.
    """
    points = filterbank_points(filterbank, num_filters, sample_rate)
    size = fft_size if filterbank == "mel" else fft_size // 2 + 1
    # A point that is a whole bin on paper must not fall below it by rounding.
    return np.floor(points * (size + 1) / sample_rate + 1e-9).astype(int)


def filterbank_weights(
    filterbank: str,
    num_filters: int,
    fft_size: int,
    sample_rate: int,
    low_hz: float = 0.0,
    high_hz: float | None = None,
) -> np.ndarray:
    """Triangles, (fft_size / 2 + 1, num_filters): unnormalised on whole bins, or Slaney's, of an area of 1 over Hz.

    A filter too narrow to hold a bin is empty.
    """
    if filterbank == "slaney":
        low, peak, high = (
            filterbank_points(filterbank, num_filters, sample_rate, low_hz, high_hz)[i:][:num_filters] for i in range(3)
        )
        hertz = np.arange(fft_size // 2 + 1)[:, None] * (sample_rate / fft_size)
        rising, falling = (hertz - low) / (peak - low), (high - hertz) / (high - peak)
        return np.maximum(0, np.minimum(rising, falling)) * 2 / (high - low)
    bins = filterbank_bins(filterbank, num_filters, fft_size, sample_rate)
    weights = np.zeros((fft_size // 2 + 1, num_filters))
    for i, (start, centre, end) in enumerate(zip(bins, bins[1:], bins[2:], strict=False)):
        rising = np.arange(start, centre)
        falling = np.arange(centre, end)
        weights[rising, i] = (rising - start) / max(centre - start, 1)
        weights[falling, i] = (end - falling) / max(end - centre, 1)
    return weights


def dct_matrix(inputs: int, outputs: int) -> np.ndarray:
    """DCT-II without normalisation, (inputs, outputs): column k is cos(πk(n + ½) / inputs).

    ELL rounds π / inputs to float32 first, which shows in the fifth digit of a cepstrum.
    """
    n, k = np.mgrid[:inputs, :outputs]
    return np.cos(float(np.float32(np.pi) / np.float32(inputs)) * k * (n + 0.5))
