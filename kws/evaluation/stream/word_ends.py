"""Where in a clip the word is, by its energy."""

import numpy as np

FRAME_SECONDS = 0.01
WINDOW_SECONDS = 0.02
BELOW_PEAK = 30.0  # dB under the loudest frame at which a word has faded out
ABOVE_FLOOR = 0.3  # … or this share of the way from the noise floor to the peak, whichever is louder
LONGEST_GAP = 0.2  # seconds of silence inside a word: the closure before a final t or k


def word_span(waveform: np.ndarray, sample_rate: int) -> tuple[float, float]:
    """Start and end in seconds of the word in a clip, (S,) float.

    Level in windows of 20 ms every 10 ms. The word is the stretch around the loudest window that stays above a
    threshold between noise floor (10th percentile) and peak, with gaps of up to 200 ms. A clip without any energy is
    taken to be all word.
    """
    seconds = len(waveform) / sample_rate
    step, window = max(1, round(FRAME_SECONDS * sample_rate)), max(1, round(WINDOW_SECONDS * sample_rate))
    energy = np.concatenate([[0.0], np.cumsum(np.square(waveform, dtype=np.float64))])
    starts = np.arange(0, max(1, len(waveform) - window + 1), step)
    level = 10 * np.log10((energy[np.minimum(starts + window, len(waveform))] - energy[starts]) / window + 1e-12)
    peak, floor = float(level.max()), float(np.percentile(level, 10))
    if peak <= -110:
        return 0.0, seconds
    loud = np.flatnonzero(level >= max(peak - BELOW_PEAK, floor + ABOVE_FLOOR * (peak - floor)))
    longest = round(LONGEST_GAP * sample_rate / step)
    pieces = np.split(loud, np.flatnonzero(np.diff(loud) > longest) + 1)
    loudest = int(level.argmax())
    word = next(piece for piece in pieces if piece[0] <= loudest <= piece[-1])
    return float(starts[word[0]] / sample_rate), min(float((starts[word[-1]] + window) / sample_rate), seconds)
