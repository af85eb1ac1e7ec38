"""A level meter on a terminal, on a line of its own below what is printed."""

import sys

import numpy as np

WIDTH, FLOOR = 40, -60.0  # characters, and dB of the left end


class Meter:
    """Shows the level of blocks on stderr, where that is a terminal."""

    def __init__(self):
        self.on = sys.stderr.isatty()

    def show(self, block: np.ndarray) -> None:
        """Level and clipping of a block (S,) int16."""
        if not self.on or not len(block):
            return
        level = decibel(block)
        filled = round(WIDTH * min(max(1 - level / FLOOR, 0.0), 1.0))
        clipped = " clipped" if np.abs(block.astype(np.int32)).max() >= 32767 else ""
        sys.stderr.write(f"\r{'█' * filled}{'·' * (WIDTH - filled)} {level:4.0f} dB{clipped}\x1b[K")
        sys.stderr.flush()

    def clear(self) -> None:
        """Leave the line empty for something else."""
        if self.on:
            sys.stderr.write("\r\x1b[K")
            sys.stderr.flush()


def decibel(block: np.ndarray) -> float:
    """Root mean square of int16 samples in dB of full scale, at least -96."""
    power = float(np.mean(np.square(block.astype(np.float64) / 32768)))
    return 10 * np.log10(max(power, 10**-9.6))
