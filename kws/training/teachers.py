"""Distillation: trained spotters, or a speech recogniser, whose posteriors are targets beside the labels.

Hinton, Vinyals and Dean, "Distilling the Knowledge in a Neural Network", 2015. Teachers and student hear the same
augmented samples, each through its own featurizer, so that a teacher may have finer features than the student; only
the student's are masked.
"""

from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor

from kws.runs.stored import load_spotter
from kws.spotter import Spotter
from kws.support.errors import KwsError
from kws.training import recognizer
from kws.training.recognizer import Recognizer


class Teachers:
    """One or more trained spotters with the student's sample rate and labels.

    Args:
        runs: run directories, or spotter files; `recognizer.NAME` for a speech recogniser, which learns the labels
            first.
        student: whose rate and labels theirs must be.
    """

    def __init__(self, runs: Sequence[str | Path], student: Spotter):
        self.spotters, self.recognizer = [], None
        for run in runs:
            if str(run) == recognizer.NAME:
                self.recognizer = Recognizer(student.sample_rate, len(student.labels))
                continue
            teacher, _ = load_spotter(run)
            for name in ("sample_rate", "labels"):
                wanted, found = getattr(student, name), getattr(teacher, name)
                if wanted != found:
                    raise KwsError(f"training.teachers: {run} has {name} {found}, and what it should teach {wanted}.")
            self.spotters.append(teacher.requires_grad_(False))

    @torch.no_grad()
    def __call__(self, waveforms: Tensor, temperature: float) -> Tensor:
        """Clips (B, S) in [-1, 1] to the mean of the teachers' softened posteriors (B, C)."""
        features = {}
        posteriors = []
        for teacher in self.spotters:
            teacher.to(waveforms.device)  # also one that uses the features of another
            key = repr(teacher.featurizer.settings)
            if key not in features:
                features[key] = teacher.features(waveforms)
            posteriors.append(torch.softmax(teacher.classify(features[key], coarse=True) / temperature, dim=1))
        if self.recognizer is not None:
            posteriors.append(torch.softmax(self.recognizer(waveforms) / temperature, dim=1))
        return torch.stack(posteriors).mean(0)
