"""Search by Optuna: a Hydra sweeper, and a callback that ends trials which lag behind.

hydra-optuna-sweeper (1.3.0, of September 2026) still asks for Optuna 2; this one uses Optuna directly. What is
searched is written as Hydra writes sweeps: ``model=gru,lstm`` or ``choice(…)``, ``interval(1e-4, 1e-2)``,
``tag(log, interval(…))``, ``range(32, 161, step=32)``.

The study lies in a file, so the same command with the same ``hydra.sweep.dir`` goes on: trials that were running are
run again (their jobs are resumed), and new ones follow until there are as many as asked for.
"""

import itertools
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import ChoiceSweep, IntervalSweep, Override, RangeSweep
from hydra.plugins.sweeper import Sweeper
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig, OmegaConf

from kws.runs.jobs import key_of
from kws.support import files
from kws.support.errors import KwsError

STUDY = "kws"
PRUNED = "pruned"
BEST = "best.yaml"


def open_study(storage: str, **settings: Any):
    """The study in `storage`: a path of Optuna's journal, or the URL of a database such as sqlite:///study.db."""
    try:
        import optuna
    except ImportError as error:
        raise KwsError("sweep=optuna needs Optuna: pip install 'kws[sweep]'.") from error
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    if "://" not in storage:
        Path(storage).parent.mkdir(parents=True, exist_ok=True)
        backend = optuna.storages.journal.JournalFileBackend(storage)
        storage = optuna.storages.JournalStorage(backend)
    return optuna.create_study(storage=storage, study_name=STUDY, direction="maximize", load_if_exists=True, **settings)


def distribution(override: Override):
    """The values that a sweep override may take, in Optuna's terms.

    Raises:
        KwsError: a sweep that Optuna cannot search.
    """
    from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

    sweep = override.value()
    key = override.get_key_element()
    if isinstance(sweep, ChoiceSweep):
        return CategoricalDistribution([plain(choice) for choice in override.sweep_iterator()])
    log = "log" in getattr(sweep, "tags", ())
    if isinstance(sweep, IntervalSweep):
        if isinstance(sweep.start, int) and isinstance(sweep.end, int):
            return IntDistribution(sweep.start, sweep.end, log=log)
        return FloatDistribution(float(sweep.start), float(sweep.end), log=log)
    if isinstance(sweep, RangeSweep):
        values = list(override.sweep_iterator())
        if all(isinstance(value, int) for value in values) and len(values) > 1 and sweep.step > 0:
            return IntDistribution(values[0], values[-1], step=values[1] - values[0])
        return CategoricalDistribution(values)
    raise KwsError(f"{key}: Optuna cannot search {override.input_line}; use choice, range or interval.")


def plain(value: Any) -> Any:
    """A value as Optuna stores it: numbers, truth values and text."""
    return value if value is None or isinstance(value, bool | int | float | str) else str(value)


class OptunaSweeper(Sweeper):
    """Asks Optuna for values, and tells it the validation accuracy that training them gave.

    Args:
        trials: how many there shall be in the end, with those of earlier calls.
        at_once: how many are launched together; as many as the launcher works on at a time.
        storage: see `open_study`.
        seed: of the sampler.
        params: what is searched unless the command line sets it: key to an override's right side.
    """

    def __init__(self, trials: int, at_once: int, storage: str, seed: int, params: DictConfig | None = None):
        self.trials = trials
        self.at_once = at_once
        self.storage = storage
        self.seed = seed
        self.params = dict(params or {})

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        """Called by Hydra before `sweep`."""
        from hydra.core.plugins import Plugins

        self.hydra_context = hydra_context
        self.config = config
        self.launcher = Plugins.instance().instantiate_launcher(
            hydra_context=hydra_context, task_function=task_function, config=config
        )

    def sweep(self, arguments: list[str]) -> float | None:
        """Search; the best validation accuracy is handed back, and its settings are written to best.yaml."""
        from optuna.samplers import TPESampler
        from optuna.trial import TrialState

        fixed, space = self.split(arguments)
        if not space:
            raise KwsError(
                "sweep=optuna has nothing to search; give, say, 'optimizer.lr=tag(log,interval(1e-4,1e-2))'."
            )
        study = open_study(self.storage)
        # A study that goes on must not draw its first values again.
        study.sampler = TPESampler(seed=self.seed + len(study.trials), multivariate=True)
        waiting = [trial for trial in study.trials if trial.state == TrialState.RUNNING]
        for batch in self.chunks(waiting):
            self.launch(study, fixed, batch)
        while (left := self.trials - len(study.trials)) > 0:
            self.launch(study, fixed, [study.ask(space) for _ in range(min(left, self.at_once))])
        return self.report(study, fixed)

    def split(self, arguments: Sequence[str]) -> tuple[list[str], dict[str, Any]]:
        """Overrides that stay, and what is searched; an argument takes the place of the file's for the same key."""
        parser = OverridesParser.create(config_loader=self.hydra_context.config_loader)
        overrides = {
            override.get_key_element(): override
            for override in parser.parse_overrides([*(f"{k}={v}" for k, v in self.params.items()), *arguments])
        }
        fixed = [override.input_line for override in overrides.values() if not override.is_sweep_override()]
        return fixed, {key: distribution(o) for key, o in overrides.items() if o.is_sweep_override()}

    def chunks(self, trials: Sequence) -> list[list]:
        """Pieces of at most `at_once`."""
        return [list(trials[i : i + self.at_once]) for i in range(0, len(trials), self.at_once)]

    def launch(self, study, fixed: Sequence[str], batch: Sequence) -> None:
        """Run trials; a job's number is its trial's, by which the callback in it finds the trial again."""
        from optuna.trial import TrialState

        for _, group in itertools.groupby(enumerate(batch), key=lambda pair: pair[1].number - pair[0]):
            trials = [trial for _, trial in group]
            jobs = [[*fixed, *(f"{k}={quoted(v)}" for k, v in trial.params.items())] for trial in trials]
            for trial, returned in zip(trials, self.launcher.launch(jobs, trials[0].number), strict=True):
                value = returned.return_value  # raises what the job raised
                if not isinstance(value, float) or math.isnan(value):
                    study.tell(trial.number, state=TrialState.FAIL)
                elif study.trials[trial.number].user_attrs.get(PRUNED):
                    study.tell(trial.number, state=TrialState.PRUNED)
                else:
                    study.tell(trial.number, value)

    def report(self, study, fixed: Sequence[str]) -> float | None:
        """Say and write down what came of it."""
        counts: dict[str, int] = {}
        for trial in study.trials:
            counts[trial.state.name.lower()] = counts.get(trial.state.name.lower(), 0) + 1
        print(f"{len(study.trials)} trials: " + ", ".join(f"{count} {state}" for state, count in counts.items()))
        if not counts.get("complete"):
            return None
        # Of the search itself, which a run by itself has not.
        own = ("sweep.", "launcher.", "callbacks.pruning.")
        settings = [override for override in fixed if not f"{key_of(override)}.".startswith(own)]
        best = [*settings, *(f"{key}={quoted(value)}" for key, value in study.best_params.items())]
        path = Path(self.config.hydra.sweep.dir) / BEST
        files.write_text(path, OmegaConf.to_yaml({"validation_accuracy": study.best_value, "overrides": best}))
        print(f"best: trial {study.best_trial.number}, {100 * study.best_value:.2f} %: {' '.join(best)}")
        print(path)
        return study.best_value


def quoted(value: Any) -> str:
    """A value as the right side of an override."""
    if value is None:
        return "null"
    return str(value).lower() if isinstance(value, bool) else str(value)


class Pruning(pl.Callback):
    """Tells Optuna the validation accuracy of each epoch, and ends the training of a trial that lags behind.

    The run is then finished like any other, with what it has learnt: tested, exported and written down.

    Args:
        storage: as the sweeper's.
        trial: its number; Hydra's job number.
        pruner: one of Optuna's; None never ends a trial.
        monitor: what is told.
    """

    def __init__(self, storage: str, trial: int, pruner=None, monitor: str = "validation/accuracy"):
        self.study = open_study(storage, pruner=pruner)
        self.pruner = pruner
        self.number = trial
        self.monitor = monitor

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """After an epoch."""
        from optuna.trial import Trial

        if trainer.sanity_checking or not trainer.is_global_zero:
            return
        trial = Trial(self.study, self.study.trials[self.number]._trial_id)
        trial.report(float(trainer.callback_metrics[self.monitor]), trainer.current_epoch)
        if self.pruner is not None and trial.should_prune():
            trial.set_user_attr(PRUNED, True)
            print(f"trial {self.number} lags behind and ends after epoch {trainer.current_epoch + 1}.")
            trainer.should_stop = True
