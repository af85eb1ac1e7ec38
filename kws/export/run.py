"""python export.py: the files of a stored spotter written again."""

from pathlib import Path

from hydra.utils import instantiate
from omegaconf import DictConfig

from kws.export.base import Probe
from kws.runs import summary
from kws.runs.stored import load_spotter, open_data
from kws.support import files


def export(config: DictConfig) -> None:
    """Write and check every chosen export, and print the paths."""
    spotter, run_directory = load_spotter(config.run)
    output = Path(config.output) if config.output else run_directory / "exports"
    files.refuse_unwritable(output)
    files.clear_remains(output)
    data = open_data(config, spotter, run_directory)
    probe = Probe.of(data)
    exporters = instantiate(config.get("export") or {}).values()
    exported = [item for exporter in exporters for item in exporter.write(spotter, probe, output)]
    summary.show_exports(exported)
