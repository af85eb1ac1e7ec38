"""The search: what can be searched, and a study that is pruned, stopped and gone on with."""

import csv
from pathlib import Path

import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser
from omegaconf import OmegaConf

from kws.support.errors import KwsError
from kws.sweeping.optuna import distribution, open_study
from tests.scripts import call, tone_corpus

optuna = pytest.importorskip("optuna")
FloatDistribution, IntDistribution = optuna.distributions.FloatDistribution, optuna.distributions.IntDistribution
CategoricalDistribution = optuna.distributions.CategoricalDistribution


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a=x,y", CategoricalDistribution(["x", "y"])),
        ("a=choice(1,2.5,true)", CategoricalDistribution([1, 2.5, True])),
        ("a=x,null", CategoricalDistribution(["x", None])),
        ("a=interval(1e-4,1e-2)", FloatDistribution(1e-4, 1e-2)),
        ("a=tag(log,interval(1e-4,1e-2))", FloatDistribution(1e-4, 1e-2, log=True)),
        ("a=int(interval(2,9))", IntDistribution(2, 9)),
        ("a=tag(log,int(interval(2,9)))", IntDistribution(2, 9, log=True)),
        ("a=range(32,161,step=32)", IntDistribution(32, 160, step=32)),
        ("a=range(0,1,step=0.5)", CategoricalDistribution([0.0, 0.5])),
    ],
)
def test_what_can_be_searched(text, expected):
    (override,) = OverridesParser.create().parse_overrides([text])
    assert distribution(override) == expected


def test_what_cannot(monkeypatch):
    (override,) = OverridesParser.create().parse_overrides(["a=glob(*)"])
    with pytest.raises(KwsError, match="a: Optuna cannot search"):
        distribution(override)


def test_a_search_prunes_stops_and_goes_on(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("KWS_CACHE", str(tmp_path / "cache"))
    corpus = tone_corpus(tmp_path / "corpus", clips=12)

    def search(trials):
        done = call(
            "train", "-m", "sweep=optuna", "data=folder", f"data.root={corpus}", "trainer.max_epochs=2",
            "data.batch_size=16", "export=[]", "augment=none", "model.hidden_size=4", "callbacks.samples.clips=0",
            "optimizer.lr=tag(log,interval(1e-4,1e-1))", "callbacks.pruning.pruner.n_startup_trials=1",
            "callbacks.pruning.pruner.n_warmup_steps=0", f"hydra.sweeper.trials={trials}", "hydra.sweep.dir=search",
        )  # fmt: skip
        assert done.status == 0, done.err
        return done

    search(3)
    study = open_study("search/study.log")
    assert [trial.number for trial in study.trials] == [0, 1, 2]
    assert all(trial.state.is_finished() and trial.intermediate_values for trial in study.trials)
    rates = [trial.params["optimizer.lr"] for trial in study.trials]
    assert len(set(rates)) == 3
    rows = list(csv.DictReader(Path("search/sweep.csv").read_text().splitlines()))
    assert sorted(float(row["overrides"].split("optimizer.lr=")[1].split()[0]) for row in rows) == sorted(rates)

    # A trial that was running when the search was killed.
    killed = study.ask({"optimizer.lr": FloatDistribution(1e-4, 1e-1, log=True)})
    done = search(5)
    study = open_study("search/study.log")
    assert len(study.trials) == 5
    assert study.trials[killed.number].state.is_finished()
    assert len({trial.params["optimizer.lr"] for trial in study.trials}) == 5
    assert "5 trials" in done.out
    best = OmegaConf.load("search/best.yaml")
    again = call("train", *best.overrides, "hydra.run.dir=again")
    assert again.status == 0, again.err
    assert f"optimizer.lr={study.best_params['optimizer.lr']}" in best.overrides
    assert (
        best.validation_accuracy == study.best_value == max(t.value for t in study.trials if t.state.name == "COMPLETE")
    )


def test_nothing_to_search_is_said(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    done = call("train", "-m", "sweep=optuna", "optimizer.lr=0.1", "model.hidden_size=4", "augment=none")
    assert done.status == 1
    assert "sweep=optuna has nothing to search" in done.err
