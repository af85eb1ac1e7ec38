"""Learning rates: over how many steps they move, and what becomes of them where training goes on behind their end.

A schedule is made for the whole training. Resumed with more epochs, the one that was begun is finished as it was
planned, and training goes on at its last rate; ``new_cycle=true`` begins another over the steps to come.
"""

import inspect
from collections.abc import Callable
from typing import Any

import torch

from kws.support.errors import KwsError

LENGTHS = ("total_steps", "T_max")
"""What torch's schedulers call the length of the training."""


def make(factory: Callable[..., Any], optimizer: torch.optim.Optimizer, steps: int) -> Any:
    """The scheduler of a training of `steps` steps. Raises KwsError for values that it cannot take."""
    if steps < 1:
        raise KwsError("new_cycle=true: no epoch is left for it; raise trainer.max_epochs.")
    parameters = inspect.signature(factory).parameters
    lengths = set(LENGTHS) & set(parameters)
    peaks = {}
    if "max_lr" in parameters and any("rate" in group for group in optimizer.param_groups):
        peaks["max_lr"] = [parameters["max_lr"].default * group.get("rate", 1.0) for group in optimizer.param_groups]
    try:
        try:
            return factory(optimizer, **dict.fromkeys(lengths, steps), **peaks)
        except ZeroDivisionError:
            # torch's one-cycle divides by pct_start · steps - 1; a run of a few steps can hit that nought.
            return factory(optimizer, **dict.fromkeys(lengths, steps + 1), **peaks)
    except (TypeError, ValueError) as error:
        raise KwsError(f"scheduler: {error}; check the values of scheduler.*") from error


def steps_left(scheduler: Any) -> float:
    """Steps that its rates are for, the present one among them; infinity for a schedule without an end."""
    ends = [getattr(scheduler, name) for name in LENGTHS if hasattr(scheduler, name)]
    return ends[0] - scheduler.last_epoch if ends else float("inf")
