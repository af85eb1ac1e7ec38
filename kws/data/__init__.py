"""Clips decoded, cached, augmented and batched."""

from kws.data.module import Batch, SpeechDataModule

__all__ = ["Batch", "SpeechDataModule"]
