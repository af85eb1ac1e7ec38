"""The loss of a detector: what a decoder would have reported of a sequence of clips.

A decoder averages posteriors over a while, and reports a word where the average is high. So each keyword's clip is
judged by the highest average of its word, every clip by the highest average of each word that is not its own:

    −log max_t s_y(t)  −  weight · Σ_{k ≠ y} log(1 − max_t s_k(t)),      s_k(t) = mean of p_k over the window before t

The first term is absent for clips of no keyword. Max-pooling as in Sun et al., "Max-pooling loss training of LSTM
networks for small-footprint keyword spotting", SLT 2016, and over all negatives as in wekws. A word that ends with its
clip is recognised a little later, in the clip that follows: for `slack` frames that counts as its own.
"""

import torch
from torch import Tensor
from torch.nn import functional as F

FLOOR = 1e-3  # of a score, and of what it lacks of one: a mislabelled clip costs seven at most


def detection_loss(
    log_probabilities: Tensor, labels: Tensor, words: Tensor, window: int, slack: int, weight: float = 1.0
) -> Tensor:
    """Loss of each clip: (L, J) for L sequences of J clips.

    Args:
        log_probabilities: (L, J · T, C) of every frame.
        labels: (L, J) class indices.
        words: (W,) class indices of the keywords.
        window: frames that the decoder averages.
        slack: frames of the next clip in which a word may still be recognised, fewer than T.
        weight: of the second term.
    """
    lanes, clips = labels.shape
    posteriors = log_probabilities[..., words].exp().transpose(1, 2)  # (L, W, J·T)
    scores = F.avg_pool1d(F.pad(posteriors, (window - 1, 0)), window, 1)
    scores = scores.reshape(lanes, len(words), clips, -1).permute(0, 2, 1, 3)  # (L, J, W, T)
    own = labels[..., None] == words  # (L, J, W)
    head, tail = scores[..., :slack], scores[..., slack:].amax(-1)
    head = head.amax(-1) if slack else torch.zeros_like(tail)
    late = F.pad(head[:, 1:], (0, 0, 0, 1))  # of the next clip; nothing follows the last one
    hit = torch.maximum(torch.maximum(head, tail), late)
    hit = -torch.log(FLOOR + (1 - FLOOR) * hit) * own
    # What the previous clip's word may still say is no false alarm of this one.
    excused = F.pad(own[:, :-1], (0, 0, 1, 0))
    alarm = torch.maximum(torch.where(excused, 0.0, head), tail)
    alarm = -torch.log1p(-(1 - FLOOR) * alarm) * ~own
    return hit.sum(-1) + weight * alarm.sum(-1)
