"""From posteriors to detections: which word was said, and when.

log-probabilities ──► mean over `smoothing` seconds ──► best word ──► threshold ──► `consecutive` frames in a row
                                                                                          │
detection (word, time, confidence) ◄── not within `refractory` seconds of the last one ◄──┘
                                            ▲
samples, voice ──► `kws.spotter.gate` ──────┘ only where there was something to hear
"""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from kws.spotter.gate import CLOSED, OPEN, Gate, GateState, level
from kws.support.errors import KwsError

NO_WORD = -1


class Detection(NamedTuple):
    """One word heard: its label, when in seconds from the stream's start, and its smoothed posterior at that time."""

    word: str
    time: float
    confidence: float


class DecoderState(NamedTuple):
    """Where the decoder stands in each of B streams. N: frames that are averaged, W: words.

    Attributes:
        past: (B, N - 1, W) posteriors that the next average still contains; zeros at the start.
        word: (B,) int64, the word whose run of hits is under way, or `NO_WORD`.
        length: (B,) int64, hits in that run so far.
        reported: (B,) bool, whether that run has been reported, or never will be.
        wait: (B,) int64, frames in which nothing may be reported yet.
        frames: (B,) int64, frames heard.
        lately: (B,) int64, N for an open gate, less by one for each frame since: averages still hold frames in which
            it was open while that is more than 0.
        gate: where the noise gate stands.
    """

    past: Tensor
    word: Tensor
    length: Tensor
    reported: Tensor
    wait: Tensor
    frames: Tensor
    lately: Tensor
    gate: GateState


class DecodedFrames(NamedTuple):
    """What the decoder says of the next T frames of B streams.

    Attributes:
        word: (B, T) int64, class index of the word with the highest smoothed posterior.
        score: (B, T) that posterior.
        detected: (B, T) bool, whether the word is reported in this frame.
    """

    word: Tensor
    score: Tensor
    detected: Tensor


class Decoder(nn.Module):
    """Posteriors to detections.

    In every frame the word with the highest smoothed posterior is the candidate; labels that are ignored are never
    one. It is a hit when its score reaches its threshold. A run of hits of the same word is reported once, in the
    first frame in which it is `consecutive` frames long and the refractory time of the last report (of any word)
    is over. Nothing is reported unless the noise gate (`kws.spotter.gate`) was open in a frame that the average holds,
    and nothing ever of a run that began while it was closed: no setting makes a word out of silence, and a word may
    still be reported just after the detector that ends with it has closed the gate.

    Args:
        labels: class names in the order of the classifier's outputs.
        hop_seconds: seconds between frames.
        smoothing: seconds over which posteriors are averaged; before the stream's start they count as 0.
        threshold: least score of a hit, from 0 to 1: one for all words, or one for each.
        consecutive: frames in a row that it takes.
        refractory: seconds after a report in which nothing is reported.
        ignored: labels that are never reported; those that start with ``_`` when None.

    Raises:
        KwsError: a setting out of range, a word that is no label, or a word without a threshold.
    """

    def __init__(
        self,
        labels: Sequence[str],
        hop_seconds: float,
        smoothing: float = 0.16,
        threshold: float | Mapping[str, float] = 0.5,
        consecutive: int = 1,
        refractory: float = 0.5,
        ignored: Sequence[str] | None = None,
    ):
        super().__init__()
        if isinstance(threshold, Mapping):
            threshold = {str(word): float(value) for word, value in threshold.items()}
        self.settings: dict[str, Any] = {
            "smoothing": smoothing,
            "threshold": threshold,
            "consecutive": consecutive,
            "refractory": refractory,
            "ignored": None if ignored is None else list(ignored),
        }
        self.labels = tuple(labels)
        self.hop_seconds = hop_seconds
        self.ignored = tuple(label for label in labels if label.startswith("_")) if ignored is None else tuple(ignored)
        self._refuse_contradictions()
        words = [i for i, label in enumerate(self.labels) if label not in self.ignored]
        if not words:
            raise KwsError("decoder.ignored leaves no word to report; leave one label at least.")
        per_word = threshold if isinstance(threshold, dict) else dict.fromkeys(self.labels, float(threshold))
        missing = [self.labels[i] for i in words if self.labels[i] not in per_word]
        if missing:
            raise KwsError(f"decoder.threshold names no threshold for {', '.join(missing)}; give every word one.")
        self.window = max(1, round(smoothing / hop_seconds))  # frames
        self.wait = round(refractory / hop_seconds)  # frames
        self.consecutive = consecutive
        self.gate = Gate(hop_seconds)
        # They follow the settings, so they are no part of a checkpoint. An ignored label is never compared.
        self.register_buffer("words", torch.tensor(words), persistent=False)  # (W,) class indices
        thresholds = torch.tensor([per_word.get(label, 1.0) for label in self.labels])
        self.register_buffer("thresholds", thresholds, persistent=False)  # (C,)

    def _refuse_contradictions(self) -> None:
        s = self.settings
        for name in ("smoothing", "refractory"):
            if not 0 <= s[name] <= 60:
                raise KwsError(f"decoder.{name}={s[name]} must lie between 0 and 60 seconds.")
        if not (isinstance(s["consecutive"], int) and s["consecutive"] >= 1):
            raise KwsError(f"decoder.consecutive={s['consecutive']} must be a whole number of frames, at least 1.")
        per_word = s["threshold"] if isinstance(s["threshold"], dict) else {"": s["threshold"]}
        for word, value in per_word.items():
            if not 0 <= value <= 1:
                raise KwsError(f"decoder.threshold{'.' + word if word else ''}={value} must lie between 0 and 1.")
        for word in [*self.ignored, *(word for word in per_word if word)]:
            if word not in self.labels:
                raise KwsError(f"decoder: {word!r} is no label of this spotter; it knows {', '.join(self.labels)}.")

    def initial_state(self, streams: int = 1, device: torch.device | str | None = None) -> DecoderState:
        """The state of `streams` streams that have heard nothing yet."""
        device = device or self.words.device
        zeros = torch.zeros(streams, dtype=torch.int64, device=device)
        return DecoderState(
            past=torch.zeros(streams, self.window - 1, len(self.words), device=device),
            word=torch.full_like(zeros, NO_WORD),
            length=zeros,
            reported=zeros.bool(),
            wait=zeros,
            frames=zeros,
            lately=zeros,
            gate=self.gate.initial_state(streams, device),
        )

    def forward(self, log_probabilities: Tensor, samples: Tensor | None = None) -> DecodedFrames:
        """`stream` of whole sequences: (B, T, C) log-probabilities, each from its start."""
        state = self.initial_state(len(log_probabilities), log_probabilities.device)
        return self.stream(log_probabilities, state, samples)[0]

    def step(
        self, log_probabilities: Tensor, state: DecoderState, samples: Tensor | None = None, voice: Tensor | None = None
    ) -> tuple[DecodedFrames, DecoderState]:
        """One frame of each stream: (B, C), (B, hop_size) and (B,) to frames of shape (B,)."""
        voice = None if voice is None else voice[:, None]
        frames, state = self.stream(log_probabilities[:, None], state, samples, voice)
        return DecodedFrames(*(tensor[:, 0] for tensor in frames)), state

    def stream(
        self, log_probabilities: Tensor, state: DecoderState, samples: Tensor | None = None, voice: Tensor | None = None
    ) -> tuple[DecodedFrames, DecoderState]:
        """The next T frames of B streams.

        Args:
            log_probabilities: (B, T, C); T may be 0.
            state: where the streams stand.
            samples: (B, T · hop_size) in [-1, 1] that the frames were made of. Without them the gate is taken to be
                open: posteriors that come from nowhere.
            voice: (B, T) signal of the detector that resets the network, where there is one.
        """
        word, score, past = self.smooth(log_probabilities, state.past)
        gate = None
        if samples is not None:
            gate, after = self.listen(samples, word.shape[1], voice, state.gate)
            state = state._replace(gate=after)
        detected, state = self.decide(word, score >= self.thresholds[word], state, gate)
        return DecodedFrames(word, score, detected), state._replace(past=past)

    def listen(self, samples: Tensor, hops: int, voice: Tensor | None, state: GateState) -> tuple[Tensor, GateState]:
        """The noise gate in each of so many hops, (B, hops), by their samples and voice; and its next state."""
        return self.gate.stream(level(samples, hops), voice, state)

    def smooth(self, log_probabilities: Tensor, past: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Best word (B, T), its smoothed posterior (B, T), and the `past` of the next frames."""
        frames = log_probabilities.shape[1]
        heard = torch.cat([past, log_probabilities[..., self.words].exp()], dim=1)  # (B, N - 1 + T, W)
        # A sum of shifted copies, unlike a running sum, is the same number wherever the stream is cut.
        total = heard[:, :frames].clone()
        for i in range(1, self.window):
            total += heard[:, i : i + frames]
        score, best = (total / self.window).max(dim=-1)  # (B, T)
        return self.words[best], score, heard[:, frames:]

    def decide(
        self, word: Tensor, hit: Tensor, state: DecoderState, gate: Tensor | None = None
    ) -> tuple[Tensor, DecoderState]:
        """Which frames are reported, from the candidate of each frame, whether it is a hit, and the gate.

        All are (B, T); without `gate` it is open. Threshold sweeps call this with one row per threshold. `state.past`
        and `state.gate` are handed on untouched.
        """
        streams, frames = word.shape
        if not frames:
            return hit, state
        gate = torch.full_like(word, OPEN) if gate is None else gate.expand(streams, frames)
        current = torch.where(hit, word, NO_WORD)  # (B, T)
        before = torch.cat([state.word[:, None], current[:, :-1]], dim=1)
        index = torch.arange(frames, device=word.device).expand(streams, frames)
        changed = current != before
        # The frame in which the present run began; a run that came in with the state began before frame 0.
        begun = torch.where(changed, index, -1).cummax(dim=1).values
        start = torch.where(begun < 0, -state.length[:, None], begun)
        length = index - start + 1  # of no meaning where there is no hit
        # Runs that began with a closed gate count as reported, like those that were reported before these frames.
        done = torch.where(begun < 0, state.reported[:, None], gate.gather(1, begun.clamp(min=0)) == CLOSED)
        earlier = (state.lately - self.window - 1)[:, None]  # the frame in which the gate was last open
        opened = torch.maximum(torch.where(gate == OPEN, index, earlier).cummax(dim=1).values, earlier)
        ripe = hit & (length >= self.consecutive) & (index - opened < self.window) & ~done

        # Reports hang on one another through the refractory time, so they are found stretch by stretch of ripe frames
        # of one run, of which the first and the last say everything.
        fresh = torch.cat([ripe[:, :1], ripe[:, 1:] & (~ripe[:, :-1] | changed[:, 1:])], dim=1)
        final = torch.cat([ripe[:, :-1] & (~ripe[:, 1:] | changed[:, 1:]), ripe[:, -1:]], dim=1)
        row, begins = fresh.nonzero(as_tuple=True)
        ends = final.nonzero(as_tuple=True)[1]
        runs = begun[row, begins]
        free = state.wait.tolist()  # first frame in which a report is allowed again
        reported: list[int | None] = [None] * streams  # the run that was reported last
        at_row, at_frame = [], []
        for b, first, last, run in zip(row.tolist(), begins.tolist(), ends.tolist(), runs.tolist(), strict=True):
            at = max(first, free[b])
            if at > last or run == reported[b]:
                continue
            at_row.append(b)
            at_frame.append(at)
            free[b] = at + 1 + self.wait
            reported[b] = run
        detected = torch.zeros_like(hit)
        detected[at_row, at_frame] = True
        present = begun[:, -1].tolist()  # where the run that goes on began
        now = torch.tensor([run == last for run, last in zip(present, reported, strict=True)], device=word.device)
        after = state._replace(
            word=current[:, -1],
            length=torch.where(hit[:, -1], length[:, -1], 0),
            reported=(done[:, -1] | now) & hit[:, -1],
            wait=torch.tensor([max(0, frame - frames) for frame in free], device=word.device),
            frames=state.frames + frames,
            lately=(self.window - (frames - 1 - opened[:, -1])).clamp(min=0),
        )
        return detected, after

    def detections(self, frames: DecodedFrames, heard: Tensor) -> list[list[Detection]]:
        """The reports of each stream in the order of time.

        Args:
            frames: what `stream` gave back.
            heard: (B,) frames heard before them: `frames` of the state that went in.

        Returns:
            For each stream a list; the time of a report is the end of its hop.
        """
        found: list[list[Detection]] = [[] for _ in range(len(frames.word))]
        before = heard.tolist()
        for b, t in frames.detected.nonzero().tolist():
            time = (before[b] + t + 1) * self.hop_seconds
            found[b].append(Detection(self.labels[int(frames.word[b, t])], time, float(frames.score[b, t])))
        return found
