"""TensorBoard's HParams tab, asked as its page asks: the gallery's figures beside the settings of every run."""

import shutil

import pytest
import yaml
from tensorboard.backend.event_processing.data_ingester import LocalDataIngester
from tensorboard.context import RequestContext
from tensorboard.plugins.base_plugin import TBContext
from tensorboard.plugins.hparams import api_pb2, backend_context, get_experiment, list_session_groups

from kws.gallery import table
from kws.gallery.find import find_runs
from kws.runs import hparams
from tests.gallery.test_gallery import make_run


class Flags:
    """What tensorboard is started with."""

    def __init__(self, logdir):
        self.logdir = str(logdir)

    def __getattr__(self, name):
        return {"samples_per_plugin": "", "window_title": "", "max_reload_threads": 1}.get(name)


def tab(logdir):
    """Names of the settings, names of the figures, and both for each run."""
    ingester = LocalDataIngester(Flags(logdir))
    ingester._multiplexer.AddRunsFromDirectory(str(logdir))
    ingester._multiplexer.Reload()
    backend = backend_context.Context(TBContext(data_provider=ingester.data_provider))
    context = RequestContext()
    experiment = get_experiment.Handler(context, backend, "", api_pb2.GetExperimentRequest()).run()
    statuses = ["STATUS_UNKNOWN", "STATUS_SUCCESS", "STATUS_FAILURE", "STATUS_RUNNING"]
    request = api_pb2.ListSessionGroupsRequest(
        start_index=0, slice_size=100, allowed_statuses=[api_pb2.Status.Value(status) for status in statuses]
    )
    rows = {}
    for group in list_session_groups.Handler(context, backend, "", request).run().session_groups:
        settings = {k: getattr(v, v.WhichOneof("kind")) for k, v in group.hparams.items()}
        figures = {m.name.tag.removeprefix("figures/"): m.value for m in group.metric_values}
        rows[group.name.split("/")[0]] = settings, figures
    figures = {info.name.tag.removeprefix("figures/") for info in experiment.metric_infos}
    return {info.name for info in experiment.hparam_infos}, figures, rows


@pytest.fixture
def outputs(tmp_path):
    make_run(tmp_path / "a", 0.9, seed=1, evaluated=True)
    make_run(tmp_path / "b", 0.94, seed=2, size=6)
    for name, model in (("a", {"hidden_size": 4}), ("b", {"hidden_size": 6, "channels": [8, 16], "_target_": "x"})):
        (tmp_path / name / "config.yaml").write_text(yaml.safe_dump({"seed": 1, "model": model}))
        hparams.write(tmp_path / name)
    return tmp_path


def test_the_same_figures_as_in_the_gallery(outputs):
    settings, figures, rows = tab(outputs)
    assert {"seed", "corpus", "model", "data", "model.hidden_size", "model.channels"} == settings
    runs = find_runs([outputs], measure=True)
    assert len(rows) == len(runs) == 2
    for run in runs:
        line = table.row(run)
        known, told = rows[run.name]
        assert known["seed"] == run.seed
        assert known["corpus"] == "tones, 8000 Hz"
        for name, value in line.items():
            if isinstance(value, float | int) and name not in ("seed", "microseconds_per_hop"):
                assert told[name] == pytest.approx(value, rel=1e-6), name
        assert told["microseconds_per_hop"] > 0  # measured anew
        assert set(told) <= figures
    assert {"missed", "false_alarms_words", "false_alarms_running"} <= figures
    assert {"stream_reset", "stream_never", "stream_vad", "test_low", "multiply_adds_per_second"} <= figures
    assert rows["b"][0]["model.channels"] == "[8, 16]"
    assert "stream_vad" not in rows["b"][1]


def test_written_again_it_holds_the_new_figures_alone(outputs):
    (outputs / "a" / "evaluation.json").unlink()
    hparams.write(outputs / "a")
    assert "stream_vad" not in tab(outputs)[2]["a"][1]
    assert len(list((outputs / "a" / hparams.FOLDER).iterdir())) == 1


def test_settings_that_cannot_be_read_are_left_out(outputs):
    (outputs / "a" / "config.yaml").write_text("a: [")
    hparams.write(outputs / "a")
    shutil.rmtree(outputs / "b")
    settings, _, rows = tab(outputs)
    assert "model.hidden_size" not in settings
    assert len(rows) == 1
