"""A Hydra launcher on Ray, the cluster engine: each job a Ray task.

hydra-ray-launcher (1.2.2, of October 2026) cannot be installed beside current joblib (it wants cloudpickle below 3)
and brings Amazon's cloud along; these few lines need Ray's core alone.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from hydra.core.hydra_config import HydraConfig
from hydra.core.singleton import Singleton
from hydra.core.utils import JobReturn, JobStatus, configure_log, run_job, setup_globals
from hydra.plugins.launcher import Launcher
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig, OmegaConf, open_dict

from kws.support.errors import KwsError


class RayLauncher(Launcher):
    """Launches jobs as tasks of a Ray cluster, or of a Ray started on this machine.

    Args:
        init: what ``ray.init`` is given; ``address: auto`` finds a running cluster.
        remote: what each job needs of it, as ``ray.remote`` takes it: num_cpus, num_gpus, memory.
    """

    def __init__(self, init: DictConfig | None = None, remote: DictConfig | None = None):
        self.init = dict(init or {})
        self.remote = dict(remote or {})

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        """Called by Hydra before `launch`."""
        self.hydra_context = hydra_context
        self.task_function = task_function
        self.config = config

    def launch(self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int) -> Sequence[JobReturn]:
        """Run all jobs; one whose worker died is handed back as failed, and the others go on."""
        try:
            import ray
        except ImportError as error:
            raise KwsError("launcher=ray needs Ray: pip install 'kws[ray]'.") from error
        setup_globals()
        configure_log(self.config.hydra.hydra_logging, self.config.hydra.verbose)
        Path(self.config.hydra.sweep.dir).mkdir(parents=True, exist_ok=True)
        if not ray.is_initialized():
            ray.init(**self.init)
        task = ray.remote(**self.remote)(execute) if self.remote else ray.remote(execute)
        state = ray.put(Singleton.get_state())
        tasks, configs = [], []
        for number, overrides in enumerate(job_overrides, start=initial_job_idx):
            config = self.hydra_context.config_loader.load_sweep_config(self.config, list(overrides))
            with open_dict(config):
                config.hydra.job.id = f"ray_{number}"
                config.hydra.job.num = number
            configs.append(config)
            tasks.append(task.remote(self.hydra_context, config, self.task_function, state))
        return [self.result(ray, *pair) for pair in zip(tasks, configs, strict=True)]

    @staticmethod
    def result(ray: Any, task: Any, config: DictConfig) -> JobReturn:
        """What a task gave back."""
        try:
            return ray.get(task)
        except ray.exceptions.RayError as error:
            print(f"error: job {config.hydra.job.num} was lost: {str(error).splitlines()[0]}")
            failed = JobReturn(
                overrides=OmegaConf.to_container(config.hydra.overrides.task), status=JobStatus.COMPLETED
            )
            failed.return_value = float("nan")
            return failed


def execute(context: HydraContext, config: DictConfig, function: TaskFunction, state: dict[Any, Any]) -> JobReturn:
    """In a Ray worker: run one job."""
    setup_globals()
    Singleton.set_state(state)
    HydraConfig.instance().set_config(config)
    return run_job(
        hydra_context=context,
        task_function=function,
        config=config,
        job_dir_key="hydra.sweep.dir",
        job_subdir_key="hydra.sweep.subdir",
    )
