"""Launchers started for real on this machine, with a task that takes no time."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from kws.runs.configuration import CONFIGS
from tests.scripts import ROOT

SCRIPT = """
import json, os, pathlib
import hydra
from hydra.core.hydra_config import HydraConfig

@hydra.main(version_base="1.3", config_path=None, config_name="config")
def main(config):
    if config.value == "dies":
        os._exit(3)
    directory = pathlib.Path(HydraConfig.get().runtime.output_dir)
    (directory / "job.json").write_text(json.dumps([config.value, HydraConfig.get().job.num, os.getpid()]))
    return float(config.value)

main()
"""
CONFIG = """
value: 0
hydra:
  searchpath: [file://{configs}]
  sweep:
    dir: sweep
    subdir: job_${{hydra.job.num}}
  output_subdir: null
defaults:
  - override hydra/launcher: kws_{launcher}
  - _self_
"""


@pytest.fixture
def sweep(tmp_path):
    """Runs a sweep over `value` as a user would; the jobs that came to their end, and what was printed."""

    def start(launcher, *overrides):
        (tmp_path / "script.py").write_text(SCRIPT.replace("config_path=None", f"config_path={str(tmp_path)!r}"))
        (tmp_path / "config.yaml").write_text(CONFIG.format(configs=CONFIGS, launcher=launcher))
        environment = {**os.environ, "PYTHONPATH": str(ROOT), "RAY_AUTH_MODE": "disabled"}
        command = [sys.executable, "script.py", "-m", *overrides]
        done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=300)
        found = [json.loads(path.read_text()) for path in sorted(Path(tmp_path, "sweep").glob("*/job.json"))]
        return found, done.stdout + done.stderr

    return start


@pytest.mark.parametrize(
    ("package", "launcher", "overrides"),
    [
        ("hydra_plugins.hydra_joblib_launcher", "joblib", ["hydra.launcher.n_jobs=2"]),
        ("hydra_plugins.hydra_submitit_launcher", "submitit_local", []),
    ],
)
def test_jobs_run_in_processes_of_their_own(sweep, package, launcher, overrides):
    pytest.importorskip(package)
    jobs, printed = sweep(launcher, "value=1,2", *overrides)
    assert [job[:2] for job in jobs] == [[1, 0], [2, 1]], printed
    assert os.getpid() not in {pid for _, _, pid in jobs}


def test_ray_runs_all_jobs_but_the_one_whose_worker_dies(sweep):
    pytest.importorskip("ray")
    jobs, printed = sweep(
        "ray", "value=1,dies,3", "hydra.launcher.init.num_cpus=2", "+hydra.launcher.remote.max_retries=0"
    )
    assert [job[:2] for job in jobs] == [[1, 0], [3, 2]], printed
    assert "error: job 1 was lost" in printed
