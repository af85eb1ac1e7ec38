"""A spotter on live audio: blocks of any size in, detections out.

    block ──► leftover + block ──► whole hops ──► featurizer, VAD, network ──► decoder ──► detections
                 └──► what is less than a hop waits for the next block

What can be wrong with audio, and what happens then:

* NaN or infinite samples count as silence (0); `StreamState.repaired` counts them.
* Samples beyond full scale are clipped to it, as a sound card would; `StreamState.clipped` counts them.
* Integers are scaled by their type's range, so 16-bit samples can be handed in as they are. Anything that is not a
  number (bool, complex, text) is refused.
* A block whose rate is not the spotter's is refused; the state that was passed in stays good, so that the caller can
  resample the block and go on.
"""

from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from kws.spotter.decoder import DecodedFrames, DecoderState, Detection
from kws.spotter.spotter import Spotter, SpotterFrames, SpotterState
from kws.support.errors import KwsError

PARTS = ("audio", "featurizer", "vad", "classifier", "decoder")


class StreamState(NamedTuple):
    """Where each of B streams stands: everything there is to know of them, as tensors.

    Attributes:
        leftover: (B, L) samples that do not fill a hop yet.
        spotter: state of featurizer, detector and network.
        decoder: state of the decoder; its `frames` are the stream's clock.
        repaired: (B,) int64, samples so far that were NaN or infinite.
        clipped: (B,) int64, samples so far that lay beyond full scale.
    """

    leftover: Tensor
    spotter: SpotterState
    decoder: DecoderState
    repaired: Tensor
    clipped: Tensor


class Heard(NamedTuple):
    """What was heard in a block.

    Attributes:
        detections: for each stream its detections in the order of time.
        frames: features, voice activity and log-probabilities of the hops that the block completed.
        decoded: the decoder's word, score and decision for the same hops.
    """

    detections: list[list[Detection]]
    frames: SpotterFrames
    decoded: DecodedFrames


class StreamingSpotter:
    """Drives a `Spotter` and its decoder over blocks of audio.

    Args:
        spotter: the spotter, used as it is (put it in evaluation mode first; `Spotter.load` does).
        chunk_hops: hops computed at a time, which bounds the memory that a long block takes.
    """

    def __init__(self, spotter: Spotter, chunk_hops: int = 1024):
        self.spotter = spotter
        self.chunk_hops = chunk_hops

    def initial_state(self, streams: int = 1, device: torch.device | str | None = None) -> StreamState:
        """The state of `streams` streams that have heard nothing yet."""
        spotter = self.spotter.initial_state(streams, device)
        decoder = self.spotter.decoder.initial_state(streams, device)
        zeros = torch.zeros_like(decoder.frames)
        return StreamState(spotter.featurizer.buffer.new_zeros(streams, 0), spotter, decoder, zeros, zeros)

    @torch.no_grad()
    def stream(
        self, samples: Tensor | np.ndarray, state: StreamState, sample_rate: int | None = None
    ) -> tuple[Heard, StreamState]:
        """The next block of each stream.

        Args:
            samples: (B, S), or (S,) for a single stream; S may be anything from 0 on. Floats in [-1, 1] or integers.
            state: where the streams stand; it is left as it was.
            sample_rate: the block's rate in Hz, checked when given.

        Raises:
            KwsError: another rate than the spotter's, another number of streams than the state's, or no audio.
        """
        if sample_rate is not None and sample_rate != self.spotter.sample_rate:
            raise KwsError(
                f"a block of audio came at {sample_rate} Hz, but this spotter hears {self.spotter.sample_rate} Hz; "
                "resample the block and hand it in again with the same state."
            )
        block, repaired, clipped = clean(samples, len(state.leftover))
        block = torch.cat([state.leftover, block.to(state.leftover.device)], dim=1)
        hop = self.spotter.featurizer.hop_size
        hops = block.shape[1] // hop
        spotter, decoder = state.spotter, state.decoder
        frames, decoded = [], []
        for start in range(0, max(hops, 1), self.chunk_hops):
            samples = block[:, start * hop : min(start + self.chunk_hops, hops) * hop]
            heard, spotter = self._hops(samples, spotter)
            said, decoder = self.spotter.decoder.stream(heard.log_probabilities, decoder, samples, heard.signal)
            frames.append(heard)
            decoded.append(said)
        whole = DecodedFrames(*_join(decoded))
        heard = Heard(
            detections=self.spotter.decoder.detections(whole, state.decoder.frames),
            frames=SpotterFrames(*_join(frames)),
            decoded=whole,
        )
        return heard, StreamState(
            # A copy, for a view would keep the whole block in memory.
            leftover=block[:, hops * hop :].clone(),
            spotter=spotter,
            decoder=decoder,
            repaired=state.repaired + repaired.to(state.repaired.device),
            clipped=state.clipped + clipped.to(state.clipped.device),
        )

    def _hops(self, samples: Tensor, state: SpotterState) -> tuple[SpotterFrames, SpotterState]:
        if samples.shape[1]:
            return self.spotter.stream(samples, state)
        streams = len(samples)
        features = samples.new_zeros(streams, 0, self.spotter.featurizer.num_features)
        signal = None if state.vad is None else state.vad.signal.new_zeros(streams, 0)
        return SpotterFrames(features, signal, samples.new_zeros(streams, 0, len(self.spotter.labels))), state

    def reset(self, state: StreamState, *parts: str, streams: Sequence[int] | None = None) -> StreamState:
        """The same state with some parts of some streams as they were at the start.

        Args:
            state: where the streams stand; it is left as it was.
            parts: any of ``audio`` (samples that wait for their hop), ``featurizer``, ``vad``, ``classifier`` (with the
                decoder's noise gate, for the network starts from zeros) and ``decoder`` (with the clock, so that times
                count from 0 again); all of them when none is named.
            streams: which streams; all of them when None.

        Streams of a batch share the raster of hops. When only some streams lose their waiting samples, silence of the
        same length takes their place.
        """
        for part in parts:
            if part not in PARTS:
                raise KwsError(f"a stream has no part {part!r} to reset; it has {', '.join(PARTS)}.")
        parts = parts or PARTS
        count, device = len(state.leftover), state.leftover.device
        chosen = torch.ones(count, dtype=torch.bool, device=device)
        if streams is not None:
            chosen = torch.zeros_like(chosen)
            chosen[list(streams)] = True
        fresh = self.initial_state(count, device)
        spotter = SpotterState(
            **{
                name: _where(chosen, getattr(fresh.spotter, name), part) if name in parts else part
                for name, part in state.spotter._asdict().items()
            }
        )
        leftover = state.leftover
        if "audio" in parts:
            leftover = fresh.leftover if bool(chosen.all()) else torch.where(chosen[:, None], 0.0, leftover)
        decoder = state.decoder
        if "decoder" in parts:
            decoder = _where(chosen, fresh.decoder, decoder)
        elif "classifier" in parts:
            decoder = decoder._replace(gate=_where(chosen, fresh.decoder.gate, decoder.gate))
        if spotter.vad is not None:  # so that the gate misses no reset to come
            decoder = decoder._replace(gate=decoder.gate._replace(voice=spotter.vad.signal == 1))
        return state._replace(leftover=leftover, spotter=spotter, decoder=decoder)

    def listen(self, blocks: Iterable[Tensor | np.ndarray], sample_rate: int | None = None) -> Iterator[Detection]:
        """Detections in one stream, as its blocks (S,) arrive."""
        state = self.initial_state()
        for block in blocks:
            heard, state = self.stream(block, state, sample_rate)
            yield from heard.detections[0]


def clean(samples: Tensor | np.ndarray, streams: int = 1) -> tuple[Tensor, Tensor, Tensor]:
    """Audio of any numeric type to float32 (B, S) in [-1, 1].

    Args:
        samples: (S,) or (B, S); of a single stream (S, 1) too, as sound cards hand it over.
        streams: B.

    Returns:
        The samples, and per stream how many were not finite and how many lay beyond full scale, both (B,).

    Raises:
        KwsError: not numeric, of another shape, or of several channels.
    """
    if not isinstance(samples, Tensor):
        array = np.asarray(samples)
        if array.dtype == np.uint16 or array.dtype == np.uint32 or array.dtype.kind not in "fiu":
            raise KwsError(f"audio samples of type {array.dtype} mean nothing here; hand in floats or 16-bit integers.")
        if array.dtype.byteorder not in "=|" or not array.flags.writeable or any(s < 0 for s in array.strides):
            array = array.astype(array.dtype.newbyteorder("="))
        samples = torch.from_numpy(array)
    if samples.dim() == 1:
        samples = samples[None]
    if samples.dim() != 2:
        raise KwsError(f"audio must have the shape (samples,) or (streams, samples), not {tuple(samples.shape)}.")
    if streams == 1 and samples.shape[1] == 1:
        samples = samples.T
    if streams == 1 and 1 < samples.shape[1] < len(samples):
        raise KwsError(
            f"a block of shape {tuple(samples.shape)} is of {samples.shape[1]} channels; hand in one of them, or their "
            "mean, of shape (samples,)."
        )
    if len(samples) != streams:
        raise KwsError(f"a block for {len(samples)} streams came with the state of {streams}; they must be as many.")
    if samples.dtype == torch.uint8:
        samples = (samples.float() - 128) / 128
    elif samples.dtype in (torch.int8, torch.int16, torch.int32, torch.int64):
        # 64-bit integers are what plain Python lists become; their values are 16-bit samples.
        bits = {torch.int8: 8, torch.int32: 32}.get(samples.dtype, 16)
        samples = samples.float() / 2 ** (bits - 1)
    elif not samples.is_floating_point():
        raise KwsError(f"audio samples of type {samples.dtype} mean nothing here; hand in floats or 16-bit integers.")
    finite = samples.isfinite()
    repaired = (~finite).sum(1)
    samples = torch.where(finite, samples, 0.0)
    clipped = (samples.abs() > 1).sum(1)
    return samples.clamp(-1, 1).float(), repaired, clipped


def _where(chosen: Tensor, fresh, old):
    """`fresh` in the chosen streams, `old` in the others, through tuples of tensors of any depth."""
    if old is None:
        return None
    if isinstance(old, Tensor):
        return torch.where(chosen.view(-1, *[1] * (old.dim() - 1)), fresh, old)
    values = [_where(chosen, f, o) for f, o in zip(fresh, old, strict=True)]
    return type(old)(*values) if hasattr(old, "_fields") else tuple(values)


def _join(pieces: list) -> list:
    """Fields of consecutive frames put one after the other in time."""
    if len(pieces) == 1:
        return list(pieces[0])
    return [None if field[0] is None else torch.cat(field, dim=1) for field in zip(*pieces, strict=True)]
