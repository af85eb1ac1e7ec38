"""benchmarks/reproduce.py: runs what is missing, leaves what is there, and writes tables."""

import importlib.util
import json
from pathlib import Path

import pytest
import scipy.stats
import yaml

from kws.runs.configuration import CONFIGS
from kws.support import files
from kws.support.errors import KwsError
from tests.gallery.test_gallery import make_run

SCRIPT = Path(__file__).parents[1] / "benchmarks" / "reproduce.py"
STUDY = {
    "about": "Small ones.",
    "seeds": [1, 2, 3],
    "common": ["augment=none"],
    "evaluate": ["detection.hours=0"],
    "variants": {"small": ["model=gru1"], "large": ["model=gru3"]},
}


@pytest.fixture
def reproduce(tmp_path, monkeypatch):
    specification = importlib.util.spec_from_file_location("reproduce_benchmark", SCRIPT)
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    (tmp_path / "studies").mkdir()
    (tmp_path / "studies" / "sizes.yaml").write_text(yaml.safe_dump(STUDY, sort_keys=False))
    monkeypatch.setattr(module, "STUDIES", tmp_path / "studies")
    return module


def fake_evaluation(run):
    """A stream whose last frames are right more often than its best."""
    both = {"definitions": {"last": {"accuracy": 0.8}, "best": {"accuracy": 0.4}}}
    kinds = {"words": {"operating_points": [{"target": 5, "miss_rate": 0.1}]}}
    kinds["between"] = {"operating_points": [{"target": 5, "miss_rate": 0.05}]}
    kinds["running"] = {"recordings": 3, "operating_points": [{"target": 5, "miss_rate": 0.5}]}

    def point(misses, **alarms):
        kinds = {kind: {"false_alarms_per_hour": x} for kind, x in alarms.items()}
        return {"miss_rate": misses, "substitution_rate": misses / 8, "kinds": kinds}

    chosen = {"target": 5, "overall": point(0.375, words=4.0, running=7.0), "per_word": None}
    chosen["between"] = {"overall": None, "per_word": point(0.25, words=5.0, running=8.0)}
    detection = {
        "as_stored": point(0.5, words=1.5, running=0.0),
        "bounds": [{"target": 0.5, "miss_rate": 0.25}],
        "chosen_on_validation": [chosen],
        "kinds": kinds,
        "misses_by_snr": [{"snr": None, "miss_rate": 0.125}, {"snr": 5.0, "miss_rate": 0.75}],
    }
    content = {"streaming": dict.fromkeys(("reset", "never"), both), "detection": detection}
    files.write_json(Path(run) / "evaluation.json", content)


def test_trains_what_is_missing_and_writes_the_table(reproduce, tmp_path, monkeypatch):
    calls = []

    def script(name, *arguments):
        calls.append((name, *arguments))
        facts = dict(argument.split("=", 1) for argument in arguments)
        if name == "train.py":
            if "resume" in facts:
                return False  # fails again
            make_run(Path(facts["hydra.run.dir"]), 0.9 + int(facts["seed"]) / 100, int(facts["seed"]))
        else:
            fake_evaluation(facts["run"])
        return True

    monkeypatch.setattr(reproduce, "script", script)
    interrupted = tmp_path / "outputs" / "sizes" / "small" / "seed_3"
    interrupted.mkdir(parents=True)
    (interrupted / ".composition.yaml").write_text("seed: 3\n")
    options = ["sizes", "--outputs", str(tmp_path / "outputs"), "--results", str(tmp_path / "results"), "--root", "x"]
    assert reproduce.main([*options, "--variants", "small", "--", "trainer.max_epochs=2"]) == 1  # seed 3 has no result
    assert [call[0] for call in calls] == ["train.py", "evaluate.py"] * 2 + ["train.py"]
    wanted = ("data=folder", "data.root=x", "augment=none", "model=gru1", "trainer.max_epochs=2", "seed=1")
    assert calls[0][1:-1] == wanted
    assert calls[1][2:] == ("detection.hours=0",)
    assert calls[-1][1] == f"resume={interrupted}"
    results = json.loads((tmp_path / "results" / "sizes.json").read_text())
    assert list(results["variants"]) == ["small"]
    small = results["variants"]["small"]
    assert list(small["seeds"]) == ["1", "2"]
    assert small["mean"]["test"] == pytest.approx(0.915)
    assert small["mean"]["stream, never, best frame"] == pytest.approx(0.4)
    mean = small["mean"]
    assert {name: mean[name] for name in mean if name.startswith(("missed", "taken", "false"))} == {
        "missed as stored": 0.5,
        "taken for another as stored": 0.0625,
        "false alarms an hour in words as stored": 1.5,
        "false alarms an hour in running as stored": 0.0,
        "missed chosen on validation for 5 an hour between keywords, a threshold a word": 0.25,
        "taken for another chosen on validation for 5 an hour between keywords, a threshold a word": 0.03125,
        "false alarms an hour in words chosen on validation for 5 an hour between keywords, a threshold a word": 5.0,
        "false alarms an hour in running chosen on validation for 5 an hour between keywords, a threshold a word": 8.0,
        "missed chosen on validation for 5 an hour in all, one threshold": 0.375,
        "taken for another chosen on validation for 5 an hour in all, one threshold": 0.046875,
        "false alarms an hour in words chosen on validation for 5 an hour in all, one threshold": 4.0,
        "false alarms an hour in running chosen on validation for 5 an hour in all, one threshold": 7.0,
        "missed at 5 an hour between keywords (bound)": 0.05,
        "missed at 0.5 an hour in all (bound)": 0.25,
        "missed at 5 an hour in running (bound)": 0.5,
        "missed in quiet, chosen on validation for 5 an hour in all, one threshold": 0.125,
        "missed at 5 dB, chosen on validation for 5 an hour in all, one threshold": 0.75,
    }
    low, high = scipy.stats.t.interval(0.95, 1, loc=0.915, scale=scipy.stats.sem([0.91, 0.92]))
    assert small["interval"] == small["intervals"]["test"] == pytest.approx([low, high], rel=1e-6)
    text = (tmp_path / "results" / "sizes.md").read_text()
    assert f"91.50 ± {50 * (high - low):.2f} %" in text
    assert "| threshold | missed | taken for another | words | running |" in text
    assert "| as stored | 50.0 ± 0.0 % | 6.2 ± 0.0 % | 1.5 ± 0.0 | 0.0 ± 0.0 |" in text
    assert "| at 0.5 an hour in all (bound) | 25.0 ± 0.0 % | – | – | – |" in text
    assert results["command"] == "python benchmarks/reproduce.py sizes --root x -- trainer.max_epochs=2"
    calls.clear()
    short = ["--", "trainer.max_epochs=2"]
    assert reproduce.main([*options, "--variants", "small", "--seeds", "1", "2", *short]) == 0
    assert reproduce.main([*options, "--table", *short]) == 0
    assert calls == []
    with pytest.raises(KwsError, match="seed_1 was trained with other settings"):
        reproduce.main([*options, "--table"])


def test_goes_on_where_another_machine_stopped(reproduce, tmp_path, monkeypatch, capsys):
    """With --add the results' own figures count, unless the study has changed since; without it they are made anew."""
    seeds = []

    def script(name, *arguments):
        facts = dict(argument.split("=", 1) for argument in arguments)
        if name == "train.py":
            seeds.append(int(facts["seed"]))
            make_run(Path(facts["hydra.run.dir"]), 0.9 + seeds[-1] / 100, seeds[-1])
        else:
            fake_evaluation(facts["run"])
        return True

    monkeypatch.setattr(reproduce, "script", script)
    results = tmp_path / "results" / "sizes.json"

    def main(machine, *more):
        places = ["--outputs", str(tmp_path / machine), "--results", str(results.parent)]
        assert reproduce.main(["sizes", "--variants", "small", *places, *more]) == 0
        return json.loads(results.read_text())["variants"]["small"]

    first = main("one", "--seeds", "1", "2")
    both = main("two", "--add")
    assert seeds == [1, 2, 3]
    assert list(both["seeds"]) == ["1", "2", "3"]
    assert {seed: both["seeds"][seed] for seed in "12"} == first["seeds"]
    assert main("nothing", "--add", "--table") == both
    assert "environment" in json.loads(results.read_text())
    alone = main("two", "--table")
    assert list(alone["seeds"]) == ["3"]

    changed = STUDY | {"variants": {"small": ["model=gru1", "model.hidden_size=8"]}}
    (tmp_path / "studies" / "sizes.yaml").write_text(yaml.safe_dump(changed))
    assert list(main("three", "--add", "--seeds", "1")["seeds"]) == ["1"]
    assert "small was made with other settings and is left out" in capsys.readouterr().out


def test_teachers_are_trained_first(reproduce, tmp_path, monkeypatch):
    """Also where the results say how good they were: the student needs the teachers themselves."""
    runs = []

    def script(name, *arguments):
        facts = dict(argument.split("=", 1) for argument in arguments)
        run = Path(facts["hydra.run.dir"])
        runs.append(f"{run.parent.name} {run.name} {facts.get('training.teachers', '')}")
        make_run(run, 0.9, int(facts["seed"]))
        return True

    monkeypatch.setattr(reproduce, "script", script)
    teachers = "[{runs}/large/seed_1,{runs}/large/seed_2]"
    taught = STUDY | {"evaluate": None, "variants": STUDY["variants"] | {"small": [f"training.teachers={teachers}"]}}
    (tmp_path / "studies" / "sizes.yaml").write_text(yaml.safe_dump(taught))
    options = ["sizes", "--outputs", str(tmp_path / "outputs"), "--results", str(tmp_path / "results"), "--seeds", "1"]
    assert reproduce.main([*options, "--variants", "small"]) == 0
    lie = tmp_path / "outputs" / "sizes"
    student = f"small seed_1 [{lie}/large/seed_1,{lie}/large/seed_2]"
    assert runs == ["large seed_1 ", "large seed_2 ", student]
    assert reproduce.main(options) == 0
    assert runs[3:] == []


def test_runs_with_settings_that_the_study_had_before_are_not_counted(reproduce, tmp_path, monkeypatch):
    def script(name, *arguments):
        facts = dict(argument.split("=", 1) for argument in arguments)
        make_run(Path(facts["hydra.run.dir"]), 0.9, int(facts["seed"]))
        return True

    monkeypatch.setattr(reproduce, "script", script)
    options = ["sizes", "--outputs", str(tmp_path / "outputs"), "--results", str(tmp_path / "results"), "--seeds", "1"]

    def study(small):
        content = STUDY | {"evaluate": None, "variants": {"small": small, "large": ["model=gru3"]}}
        (tmp_path / "studies" / "sizes.yaml").write_text(yaml.safe_dump(content, sort_keys=False))

    study(["model=gru1"])
    assert reproduce.main(options) == 0
    study(["model=gru1", "trainer.max_epochs=80"])
    for more in ([], ["--table"]):
        with pytest.raises(KwsError, match=r"small/seed_1 was trained with other settings .* move it away"):
            reproduce.main([*options, *more])
    (tmp_path / "outputs" / "sizes" / "small" / "seed_1").rename(tmp_path / "away")
    assert reproduce.main(options) == 0
    study(["model=gru1", "trainer.max_epochs=80", "summary=false"])  # says nothing of what is learned
    assert reproduce.main(options) == 0


def test_a_study_without_evaluation_tells_of_none(reproduce, tmp_path):
    """A run that somebody evaluated by hand would have columns of its own, and the mean would be that run's."""
    (tmp_path / "studies" / "sizes.yaml").write_text(yaml.safe_dump(STUDY | {"evaluate": None}))
    for seed in (1, 2):
        make_run(tmp_path / "outputs" / "sizes" / "small" / f"seed_{seed}", seed=seed)
    fake_evaluation(tmp_path / "outputs" / "sizes" / "small" / "seed_1")
    options = ["sizes", "--outputs", str(tmp_path / "outputs"), "--results", str(tmp_path / "results"), "--table"]
    assert reproduce.main(options) == 0
    results = json.loads((tmp_path / "results" / "sizes.json").read_text())
    assert set(results["variants"]["small"]["mean"]) == {"test", "validation"}


def test_runs_on_other_recordings_make_no_table(reproduce, tmp_path):
    make_run(tmp_path / "outputs" / "sizes" / "small" / "seed_1", seed=1)
    make_run(tmp_path / "outputs" / "sizes" / "small" / "seed_2", seed=2, corpus={"fingerprint": "other"})
    options = ["sizes", "--outputs", str(tmp_path / "outputs"), "--results", str(tmp_path / "results"), "--table"]
    with pytest.raises(KwsError, match="seed_2 was trained on other recordings"):
        reproduce.main(options)


def test_an_unknown_study_or_variant_is_named(reproduce):
    with pytest.raises(KwsError, match="there is no study 'colours'; choose from sizes"):
        reproduce.main(["colours"])
    with pytest.raises(KwsError, match="study sizes has no variant 'middle'; it has small, large"):
        reproduce.main(["sizes", "--variants", "middle"])


@pytest.mark.parametrize("path", sorted((SCRIPT.parent / "studies").glob("*.yaml")), ids=lambda path: path.stem)
def test_every_study_can_be_composed(path):
    """Overrides that conf/ does not know would only show after hours."""
    from hydra import compose, initialize_config_dir

    from kws.runs import configuration

    configuration.register_resolvers()
    study = yaml.safe_load(path.read_text())
    assert set(study) - {"one_corpus"} == set(STUDY)
    with initialize_config_dir(str(CONFIGS), version_base="1.3"):
        for overrides in study["variants"].values():
            overrides = [override.replace("{runs}", "runs") for override in [*study["common"], *overrides]]
            compose("train", ["data=folder", "data.root=x", *overrides])
        compose("evaluate", ["run=x", *(study["evaluate"] or [])])
