"""Augmentation of training clips: batches of waveforms (B, S) and features (B, T, F), with fresh draws for each clip.

Every draw comes from the generator that is handed in, never from the global one, so that the same generator state
gives the same batch. Batches may lie on a GPU; the generator may lie on either device.
"""

import math
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path
from typing import Protocol

import numpy as np
import torch
import torchaudio
from torch import Generator, Tensor

from kws.corpus import audio
from kws.spotter.featurizer import Featurizer
from kws.support.errors import KwsError

MAX_FACTOR_DENOMINATOR = 100  # of a speed as a fraction: it bounds the work of resampling
SMOOTH = sorted(2**a * 3**b * 5**c for a in range(2, 22) for b in range(5) for c in range(3))  # quick FFT lengths


class WaveformAugmentation(Protocol):
    """What happens to waveforms: (B, S) float32 in [-1, 1] at `sample_rate` Hz to the same shape."""

    def __call__(self, waveforms: Tensor, generator: Generator, sample_rate: int) -> Tensor: ...


class FeatureAugmentation(Protocol):
    """What happens to raw features, before their normalization: (B, T, F) to the same shape."""

    def __call__(self, features: Tensor, generator: Generator) -> Tensor: ...


class Augment:
    """The augmentations of a training, one after the other.

    Args:
        sample_rate: Hz of the waveforms.
        waveform: augmentations of waveforms, in their order.
        features: augmentations of features, in their order.
    """

    def __init__(
        self,
        sample_rate: int,
        waveform: Sequence[WaveformAugmentation] = (),
        features: Sequence[FeatureAugmentation] = (),
    ):
        self.sample_rate = sample_rate
        self.of_waveforms = tuple(waveform or ())
        self.of_features = tuple(features or ())

    @property
    def active(self) -> bool:
        """Whether anything is changed at all."""
        return bool(self.of_waveforms or self.of_features)

    def set_noise(self, recordings: Sequence[np.ndarray | Tensor]) -> None:
        """Hand over the corpus's background recordings at `sample_rate`, each (S,), int16 or float in [-1, 1]."""
        for augmentation in self.of_waveforms:
            if isinstance(augmentation, BackgroundNoise):
                augmentation.set_noise(recordings, self.sample_rate)

    def set_featurizer(self, featurizer: Featurizer) -> None:
        """Hand over what makes the features."""
        for augmentation in self.of_features:
            if isinstance(augmentation, (RandomEqualizer, RandomSpeaker)):
                augmentation.set_featurizer(featurizer)

    def set_fill(self, mean: Tensor) -> None:
        """Hand over the mean of each feature over the training split, (F,): what hidden features are replaced by."""
        for augmentation in self.of_features:
            if isinstance(augmentation, SpecAugment):
                augmentation.fill = mean

    def waveforms(self, waveforms: Tensor, generator: Generator, noise: bool = True) -> Tensor:
        """Augmented (B, S) waveforms, cut off at full scale as a recorder would; the same without noise, if wanted."""
        if not self.of_waveforms:
            return waveforms
        for augmentation in self.of_waveforms:
            changed = augmentation(waveforms, generator, self.sample_rate)
            if noise or not isinstance(augmentation, BackgroundNoise):  # which has made its draws all the same
                waveforms = changed
        return waveforms.clamp(-1.0, 1.0)

    @property
    def noisy(self) -> bool:
        """Whether background noise is added to any clip."""
        return any(isinstance(added, BackgroundNoise) and added.probability > 0 for added in self.of_waveforms)

    def features(self, features: Tensor, generator: Generator, masks: bool = True) -> Tensor:
        """Augmented (B, T, F) features; with nothing of them hidden, if wanted."""
        for augmentation in self.of_features:
            if masks or not isinstance(augmentation, SpecAugment):
                features = augmentation(features, generator)
        return features


class TimeShift:
    """Moves each clip by up to `max_seconds` earlier or later; silence fills the gap."""

    def __init__(self, max_seconds: float = 0.1):
        _require(max_seconds >= 0, "TimeShift.max_seconds", max_seconds, "0 or more")
        self.max_seconds = max_seconds

    def __call__(self, waveforms: Tensor, generator: Generator, sample_rate: int) -> Tensor:
        largest = min(round(self.max_seconds * sample_rate), waveforms.shape[1])
        starts = _integers(0, 2 * largest, len(waveforms), generator, waveforms.device)
        padded = torch.nn.functional.pad(waveforms, (largest, largest))
        rows = torch.arange(len(waveforms), device=waveforms.device)
        return padded.unfold(1, waveforms.shape[1], 1)[rows, starts]  # the unfolded view costs no memory


class Gain:
    """Makes each clip louder or softer by `low_db` to `high_db`."""

    def __init__(self, low_db: float = -6.0, high_db: float = 6.0):
        _require(low_db <= high_db, "Gain.low_db", low_db, f"at most high_db={high_db}")
        self.low_db, self.high_db = low_db, high_db

    def __call__(self, waveforms: Tensor, generator: Generator, sample_rate: int) -> Tensor:
        gain = _uniform(self.low_db, self.high_db, len(waveforms), generator, waveforms.device)
        return waveforms * 10 ** (gain[:, None] / 20)


class BackgroundNoise:
    """Adds a piece of a recording to each clip with `probability`, `low_snr_db` to `high_snr_db` below its level.

    Levels are the mean power over the whole clip. Each recording is as likely as another, and each piece of it.
    One shorter than a clip is repeated. A silent clip stays as it is, for nothing lies that far below silence.

    `folder`: recordings of one's own to use instead of the corpus's.
    """

    def __init__(
        self,
        low_snr_db: float = 0.0,
        high_snr_db: float = 25.0,
        probability: float = 0.8,
        folder: str | Path | None = None,
    ):
        _require(low_snr_db <= high_snr_db, "BackgroundNoise.low_snr_db", low_snr_db, f"at most {high_snr_db}")
        _require(0 <= probability <= 1, "BackgroundNoise.probability", probability, "between 0 and 1")
        self.low_snr_db, self.high_snr_db, self.probability, self.folder = low_snr_db, high_snr_db, probability, folder
        self._recordings: list[Tensor] = []
        self._joined: tuple[Tensor, Tensor, Tensor] | None = None

    def set_noise(self, recordings: Sequence[np.ndarray | Tensor], sample_rate: int) -> None:
        """Recordings (S,) at `sample_rate`, int16 or float in [-1, 1]; `folder`, where given, takes their place."""
        if self.folder is not None:
            recordings = _read_folder(Path(self.folder), sample_rate)
        arrays = [r.numpy(force=True) if isinstance(r, Tensor) else np.asarray(r) for r in recordings]
        self._recordings = [
            torch.tensor(a if a.dtype == np.int16 else audio.to_int16(a.astype(np.float32))) for a in arrays if len(a)
        ]
        self._joined = None

    def __call__(self, waveforms: Tensor, generator: Generator, sample_rate: int) -> Tensor:
        if not self._recordings:
            raise KwsError(
                "augment: background noise is asked for, but there are no recordings of any; put some into the "
                "corpus's _background_noise_ folder, name a folder of your own as the augmentation's `folder`, or "
                "choose augment=light"
            )
        clips, samples = waveforms.shape
        sound, first, choices = self._sound(samples, waveforms.device)
        recording = _integers(0, len(first) - 1, clips, generator, waveforms.device)
        place = _uniform(0.0, 1.0, clips, generator, waveforms.device)
        starts = first[recording] + (place * choices[recording]).long().clamp(max=choices[recording] - 1)
        ratio = _uniform(self.low_snr_db, self.high_snr_db, clips, generator, waveforms.device)
        hit = _uniform(0.0, 1.0, clips, generator, waveforms.device) < self.probability
        noise = sound.unfold(0, samples, 1)[starts].to(waveforms.dtype)  # (B, S)
        power, noise_power = _power(waveforms), _power(noise)
        # A piece of digital silence has no level that could be set.
        scale = torch.sqrt(power / noise_power.clamp(min=torch.finfo(noise.dtype).tiny)) * 10 ** (-ratio / 20)
        scale = torch.where(hit & (noise_power > 0), scale, 0.0)
        return torch.addcmul(waveforms, noise, scale[:, None])

    def _sound(self, samples: int, device: torch.device) -> tuple[Tensor, Tensor, Tensor]:
        """All recordings end to end, where each begins, and at how many places of it a clip can begin."""
        joined = self._joined
        if joined is None or self._samples != samples or joined[0].device != device:
            long = [r.repeat(-(-samples // len(r))) for r in self._recordings]
            lengths = torch.tensor([len(r) for r in long])
            joined = torch.cat(long), lengths.cumsum(0) - lengths, lengths - samples + 1
            self._joined = joined = tuple(t.to(device) for t in joined)
            self._samples = samples
        return joined


class SpeedPitch:
    """Plays each clip at one of `factors` times its speed: 1.1 is a tenth faster and higher.

    Speed perturbation by resampling: Ko et al., "Audio Augmentation for Speech Recognition" (2015). Around the
    middle of the clip: both ends are padded with silence, or cropped, alike.
    """

    def __init__(self, factors: Sequence[float] = (0.9, 0.95, 1.0, 1.05, 1.1)):
        _require(bool(factors) and all(0.5 <= f <= 2 for f in factors), "SpeedPitch.factors", factors, "0.5 to 2")
        self.factors = [Fraction(f).limit_denominator(MAX_FACTOR_DENOMINATOR) for f in factors]
        self._resamplers = {}

    def __call__(self, waveforms: Tensor, generator: Generator, sample_rate: int) -> Tensor:
        choice = _integers(0, len(self.factors) - 1, len(waveforms), generator, waveforms.device)
        changed = waveforms.clone()
        for number, factor in enumerate(self.factors):
            if factor != 1:
                rows = (choice == number).nonzero().squeeze(1)
                if len(rows):
                    changed[rows] = _centre(self._resampler(factor, waveforms)(waveforms[rows]), waveforms.shape[1])
        return changed

    def _resampler(self, factor: Fraction, like: Tensor) -> torchaudio.transforms.Resample:
        key = factor, like.device, like.dtype
        if key not in self._resamplers:  # its filter is worth keeping
            resampler = torchaudio.transforms.Resample(factor.numerator, factor.denominator)
            self._resamplers[key] = resampler.to(like.device, like.dtype)
        return self._resamplers[key]


class Reverberation:
    """Puts each clip, with `probability`, into a room of its own.

    The room's response is the direct sound and, from `delay` seconds on, Gaussian noise that decays by 60 dB within
    `low_seconds` to `high_seconds` (Polack's statistical model of a room, 1988). The direct sound is `low_direct_db`
    to `high_direct_db` above the reverberation. It stays where it was in time, and the response has unit energy.
    """

    def __init__(
        self,
        low_seconds: float = 0.1,
        high_seconds: float = 0.4,
        low_direct_db: float = 0.0,
        high_direct_db: float = 12.0,
        probability: float = 0.3,
        delay: float = 0.002,
    ):
        _require(0 < low_seconds <= high_seconds, "Reverberation.low_seconds", low_seconds, f"0 to {high_seconds}")
        _require(low_direct_db <= high_direct_db, "Reverberation.low_direct_db", low_direct_db, f"≤ {high_direct_db}")
        _require(0 <= probability <= 1, "Reverberation.probability", probability, "between 0 and 1")
        _require(0 <= delay < low_seconds, "Reverberation.delay", delay, "0 or more, below low_seconds")
        self.low_seconds, self.high_seconds, self.delay = low_seconds, high_seconds, delay
        self.low_direct_db, self.high_direct_db, self.probability = low_direct_db, high_direct_db, probability

    def __call__(self, waveforms: Tensor, generator: Generator, sample_rate: int) -> Tensor:
        hit = _uniform(0.0, 1.0, len(waveforms), generator, waveforms.device) < self.probability
        rows = hit.nonzero().squeeze(1)
        if not len(rows):
            return waveforms
        samples = waveforms.shape[1]
        # A little longer than asked for, where that makes the convolution's FFT quick.
        wanted = samples + math.ceil(self.high_seconds * sample_rate) - 1
        length = next((size for size in SMOOTH if size >= wanted), wanted) - samples + 1
        responses = self.responses(len(rows), length, generator, sample_rate, waveforms.device)
        changed = waveforms.clone()
        changed[rows] = torchaudio.functional.fftconvolve(waveforms[rows], responses)[:, :samples]
        return changed

    def responses(
        self, rooms: int, length: int, generator: Generator, sample_rate: int, device: torch.device | str = "cpu"
    ) -> Tensor:
        """Impulse responses of drawn rooms: (`rooms`, `length`), each of unit energy."""
        seconds = _uniform(self.low_seconds, self.high_seconds, rooms, generator, device)
        direct = _uniform(self.low_direct_db, self.high_direct_db, rooms, generator, device)
        tail = torch.randn(rooms, length, generator=generator, device=generator.device).to(device)
        time = torch.arange(length, device=device) / sample_rate
        tail *= torch.exp(time * (-3 * math.log(10) / seconds[:, None]))  # amplitude falls to a thousandth: 60 dB
        tail[:, : max(1, round(self.delay * sample_rate))] = 0
        tail *= 10 ** (-direct[:, None] / 20) / tail.square().sum(1, keepdim=True).sqrt()
        tail[:, 0] = 1
        return tail / tail.square().sum(1, keepdim=True).sqrt()


class SpecAugment:
    """Hides stretches of time and bands of filters of each clip's features.

    Hidden features take the value in `fill`, the training split's mean of each (0 after normalization), or the mean
    of the clip over time while nobody has set it.

    Each of `time_masks` is 0 to `max_frames` frames wide, each of `filter_masks` 0 to `max_filters` filters, and no
    mask is wider than the features. Widths below one are shares of all frames or filters, rounded, which mean the same
    whatever the hop and the filterbank. Source: Park et al., "SpecAugment" (2019), without the time warping.
    """

    def __init__(
        self, time_masks: int = 2, max_frames: int | float = 4, filter_masks: int = 2, max_filters: int | float = 6
    ):
        for name, value in (("time_masks", time_masks), ("filter_masks", filter_masks)):
            _require(isinstance(value, int) and value >= 0, f"SpecAugment.{name}", value, "a whole number, 0 or more")
        for name, value in (("max_frames", max_frames), ("max_filters", max_filters)):
            fits = value >= 0 if isinstance(value, int) else 0 < value < 1
            _require(fits, f"SpecAugment.{name}", value, "a whole number, 0 or more, or a share below 1")
        self.time_masks, self.max_frames = time_masks, max_frames
        self.filter_masks, self.max_filters = filter_masks, max_filters
        self.fill: Tensor | None = None  # (F,)

    def __call__(self, features: Tensor, generator: Generator) -> Tensor:
        clips, frames, filters = features.shape
        hidden = torch.zeros(clips, frames, filters, dtype=torch.bool, device=features.device)
        for _ in range(self.time_masks):
            widest = _number(self.max_frames, frames)
            hidden |= _stretch(clips, frames, widest, generator, features.device)[:, :, None]
        for _ in range(self.filter_masks):
            widest = _number(self.max_filters, filters)
            hidden |= _stretch(clips, filters, widest, generator, features.device)[:, None, :]
        fill = features.mean(1, keepdim=True) if self.fill is None else self.fill.to(features)
        return torch.where(hidden, fill, features)


class RandomEqualizer:
    """Hears each clip through a microphone and a room of another colour: a smooth curve over the filters.

    Each clip's curve has `points` at equal distances from the first filter to the last, drawn from a normal
    distribution of `deviation_db`, and straight lines in dB between them. It multiplies the filters' outputs before
    the logarithm.
    """

    def __init__(self, deviation_db: float = 2.0, points: int = 5):
        _require(deviation_db >= 0, "RandomEqualizer.deviation_db", deviation_db, "0 or more")
        _require(isinstance(points, int) and points >= 2, "RandomEqualizer.points", points, "2 or more")
        self.deviation_db, self.points = deviation_db, points
        self.power = 1
        self.log_delta: float | None = 1.0

    def set_featurizer(self, featurizer: Featurizer) -> None:
        """Take over how the features are made: their logarithm, and whether they are magnitudes or powers."""
        if featurizer.cosines is not None:
            raise KwsError(
                "augment: RandomEqualizer changes the outputs of filters, and this featurizer makes cepstra of them; "
                "choose augment=noisy, or featurizer.dct=null"
            )
        self.power = 2 if featurizer.power_spectrum else 1
        self.log_delta = featurizer.log_delta

    def __call__(self, features: Tensor, generator: Generator) -> Tensor:
        clips, _, filters = features.shape
        drawn = torch.randn(clips, 1, self.points, generator=generator, device=generator.device).to(features)
        curve = torch.nn.functional.interpolate(drawn, size=filters, mode="linear", align_corners=True)  # (B, 1, F)
        gain = torch.exp(curve * (self.power * self.deviation_db * math.log(10) / 20))
        if self.log_delta is None:
            return features * gain
        # log(m g + δ), with m = exp(f) - δ.
        return torch.log((torch.exp(features) - self.log_delta).clamp(min=0) * gain + self.log_delta)


class RandomSpeaker:
    """Says each clip at another tempo and with another vocal tract, at the same pitch: features read at other places.

    The tempo is one for the clip, about its middle, and swings within it: up to `swing` faster or slower than its mean
    at some times. Formants are moved by a factor: filter k hears what was at its own frequency divided by it. Between
    frames and between filters is read by straight lines; at the ends the last value stays.

    Vocal tract length perturbation: Jaitly and Hinton, "Vocal Tract Length Perturbation (VTLP) improves speech
    recognition" (2013), without their piecewise map, which matters above the speech band alone.

    Args:
        tempo: natural logarithm of the largest change of tempo, either way.
        swing: share by which the tempo changes within a clip.
        tract: natural logarithm of the largest change of the formants, either way.
    """

    def __init__(self, tempo: float = 0.2, swing: float = 0.2, tract: float = 0.12):
        for name, value, most in (("tempo", tempo, 0.7), ("swing", swing, 0.9), ("tract", tract, 0.4)):
            _require(0 <= value <= most, f"RandomSpeaker.{name}", value, f"0 to {most}")
        self.tempo, self.swing, self.tract = tempo, swing, tract
        self.centres: Tensor | None = None  # (F,) Hz

    def set_featurizer(self, featurizer: Featurizer) -> None:
        """Take over which frequency each filter hears."""
        if featurizer.cosines is not None:
            raise KwsError(
                "augment: RandomSpeaker moves the outputs of filters, and this featurizer makes cepstra of them; "
                "choose augment=noisy, or featurizer.dct=null"
            )
        self.centres = featurizer.filter_centres()

    def __call__(self, features: Tensor, generator: Generator) -> Tensor:
        clips, frames, filters = features.shape
        device = features.device
        tempo = torch.exp(_uniform(-self.tempo, self.tempo, clips, generator, device))
        depth = _uniform(0.0, self.swing, clips, generator, device)
        phase = _uniform(0.0, 2 * math.pi, clips, generator, device)
        tract = torch.exp(_uniform(-self.tract, self.tract, clips, generator, device))
        time = torch.linspace(-math.pi, math.pi, frames, device=device)  # from end to end
        # The integral of 1 + depth · cos: it never goes back.
        read = tempo[:, None] * (time + depth[:, None] * (torch.sin(time + phase[:, None]) - torch.sin(phase)[:, None]))
        rows = (read / math.pi + 1) * (frames - 1) / 2
        centres = torch.arange(1.0, filters + 1) if self.centres is None else self.centres
        changed = _at(features, rows)
        if filters == 1:
            return changed
        columns = _places(centres.to(features), centres.to(features) / tract[:, None])
        return _at(changed.transpose(1, 2), columns).transpose(1, 2)


def _places(known: Tensor, wanted: Tensor) -> Tensor:
    """Where (B, F) values lie among the rising (F,) known ones, as indices with fractions."""
    above = torch.searchsorted(known, wanted.contiguous()).clamp(1, len(known) - 1)
    low, high = known[above - 1], known[above]
    return above - 1 + (wanted - low) / (high - low)


def _at(features: Tensor, places: Tensor) -> Tensor:
    """(B, T, F) read at (B, T) places along its second axis, by straight lines."""
    places = places.clamp(0, features.shape[1] - 1)
    low = places.long().clamp(max=max(features.shape[1] - 2, 0))
    share = (places - low)[:, :, None]
    index = low[:, :, None].expand(-1, -1, features.shape[2])
    high = (index + 1).clamp(max=features.shape[1] - 1)
    return torch.lerp(features.gather(1, index), features.gather(1, high), share)


def _number(value: int | float, of: int) -> int:
    """A number, or a share of `of`."""
    return round(value * of) if 0 < value < 1 else value


def _stretch(clips: int, length: int, widest: int, generator: Generator, device: torch.device) -> Tensor:
    """A drawn stretch of each row: (`clips`, `length`) bool."""
    width = _integers(0, min(widest, length), clips, generator, device)
    start = (_uniform(0.0, 1.0, clips, generator, device) * (length - width + 1)).long()
    position = torch.arange(length, device=device)
    return (position >= start[:, None]) & (position < (start + width)[:, None])


def _centre(waveforms: Tensor, samples: int) -> Tensor:
    """The middle `samples` of (B, S), padded with zeros where there are fewer."""
    missing = samples - waveforms.shape[1]
    return torch.nn.functional.pad(waveforms, (missing // 2, missing - missing // 2))  # a negative pad crops


def _power(waveforms: Tensor) -> Tensor:
    """Mean square of each row: (B, S) to (B,)."""
    return torch.linalg.vector_norm(waveforms, dim=1).square() / waveforms.shape[1]


def _uniform(low: float, high: float, count: int, generator: Generator, device: torch.device | str) -> Tensor:
    return torch.rand(count, generator=generator, device=generator.device).to(device) * (high - low) + low


def _integers(low: int, high: int, count: int, generator: Generator, device: torch.device | str) -> Tensor:
    """Both ends are drawn."""
    return torch.randint(low, high + 1, (count,), generator=generator, device=generator.device).to(device)


def _read_folder(folder: Path, sample_rate: int) -> list[np.ndarray]:
    if not folder.is_dir():
        raise KwsError(f"augment: there is no folder {str(folder)!r} of background noise; correct `folder`")
    paths = sorted(path for path in folder.iterdir() if path.suffix.lower() in audio.EXTENSIONS)
    if not paths:
        raise KwsError(f"augment: {str(folder)!r} holds no recordings ({audio.USUAL}); add some")
    return [audio.read_at(path, sample_rate, audio.MAX_SECONDS) for path in paths]


def _require(condition: bool, name: str, value, wanted: str) -> None:
    if not condition:
        raise KwsError(f"augment: {name}={value} does not work; it should be {wanted}")
