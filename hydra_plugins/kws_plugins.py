"""Hydra takes plugins from this package alone; what they do is in kws.sweeping.

Hydra imports this file whenever a script starts, so nothing heavy is imported before a plugin is used.
"""

from typing import Any

from hydra.core.utils import JobReturn
from hydra.plugins.launcher import Launcher
from hydra.plugins.sweeper import Sweeper


class OptunaSweeper(Sweeper):
    """`kws.sweeping.optuna.OptunaSweeper`."""

    def __init__(self, **settings: Any):
        from kws.sweeping.optuna import OptunaSweeper as Real

        self.real = Real(**settings)

    def setup(self, **facts: Any) -> None:
        self.real.setup(**facts)

    def sweep(self, arguments: list[str]) -> Any:
        return self.real.sweep(arguments)


class RayLauncher(Launcher):
    """`kws.sweeping.ray.RayLauncher`."""

    def __init__(self, **settings: Any):
        from kws.sweeping.ray import RayLauncher as Real

        self.real = Real(**settings)

    def setup(self, **facts: Any) -> None:
        self.real.setup(**facts)

    def launch(self, job_overrides: Any, initial_job_idx: int) -> list[JobReturn]:
        return self.real.launch(job_overrides, initial_job_idx)
