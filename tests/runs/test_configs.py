"""Every file in conf/ is composed with its script, instantiated, and says in its first line what it is."""

import inspect
import itertools
import re

import pytest
import torch
from hydra import compose, initialize_config_dir
from hydra.utils import instantiate
from omegaconf import DictConfig, OmegaConf

from kws.runs.configuration import CONFIGS, known_settings, register_resolvers, stored

register_resolvers()

# Which script a folder's choices are for, where it is not train.py, and what must be given with some of them.
SCRIPTS = {"decoder": ("evaluate", "train")}
NEEDED = {
    "data/folder": ["data.root=recordings"],
    "data/manifest": ["data.path=clips.csv"],
    "data/mswc": ["data.root=recordings"],
    "data/typed": ["data.root=recordings", "data.typed=[alexa]"],
    "data=folder": ["data.root=recordings"],
    "experiment/commands": ["data.root=recordings"],
    "experiment/commands_small": ["data.root=recordings"],
}
FILES = sorted(path.relative_to(CONFIGS).with_suffix("").as_posix() for path in CONFIGS.glob("*/*.yaml"))
COMMON = ["hydra.job.num=0"]


def composed(script, *overrides):
    with initialize_config_dir(str(CONFIGS), version_base="1.3"):
        config = compose(script, overrides=list(overrides), return_hydra_config=False)
    return config


def without_run_facts(config: DictConfig) -> DictConfig:
    """The directory is Hydra's to say; here it is a constant."""
    if "directory" in config:
        config.directory = "outputs/test"
    return config


@pytest.mark.parametrize("name", FILES)
def test_every_choice_composes_and_resolves(name):
    group, choice = name.split("/")
    if choice.startswith("base") or group == "hydra":
        pytest.skip("a part of its neighbours, composed with them")
    if group == "sweep":
        pytest.skip("asks Hydra where the sweep lies; tests/sweeping runs it")
    scripts = [s for s in ("train", "evaluate", "export", "tune_vad") if (CONFIGS / f"{s}.yaml").is_file()]
    errors = []
    for script in scripts:
        value = f"[{choice}]" if group == "export" else choice
        try:
            config = without_run_facts(composed(script, f"{group}={value}", *NEEDED.get(name, [])))
        except Exception as error:  # a group that this script does not have
            errors.append(f"{script}: {error}")
            continue
        OmegaConf.to_container(config, resolve=True)
        return
    pytest.fail(f"{name} composes with no script: {errors}")


@pytest.mark.parametrize("group", ["featurizer", "augment", "callbacks", "logger", "trainer", "export"])
def test_every_choice_instantiates(group, tmp_path):
    for path in sorted((CONFIGS / group).glob("*.yaml")):
        if path.stem == "gpu" and not torch.cuda.is_available():
            continue
        value = f"[{path.stem}]" if group == "export" else path.stem
        config = composed("train", f"{group}={value}")
        config.directory = str(tmp_path)
        assert instantiate(config[group]) is not None, path


@pytest.mark.parametrize("model", sorted(path.stem for path in (CONFIGS / "model").glob("*.yaml")))
@pytest.mark.parametrize("optimizer", sorted(path.stem for path in (CONFIGS / "optimizer").glob("*.yaml")))
def test_every_network_with_every_optimizer(model, optimizer):
    config = composed("train", f"model={model}", f"optimizer={optimizer}")
    features = 32 if model == "speech_embedding" else 40
    network = instantiate(config.model)(input_size=features, num_classes=5)
    network.eval()
    with torch.no_grad():
        output = network.readout(network(torch.randn(2, 31, features)))
    assert output.shape == (2, 5)
    torch.testing.assert_close(output.exp().sum(-1) <= 1.0 + 1e-5, torch.tensor([True, True]))
    made = instantiate(config.optimizer)(network.parameters())
    for scheduler in sorted(path.stem for path in (CONFIGS / "scheduler").glob("*.yaml")):
        factory = instantiate(composed("train", f"optimizer={optimizer}", f"scheduler={scheduler}").scheduler)
        if factory is not None:
            lengths = {"total_steps", "T_max"} & set(inspect.signature(factory).parameters)
            factory(made, **dict.fromkeys(lengths, 10))


def test_rate_decides_window_hop_and_filters():
    for rate, window, filters in ((8000, 256, 40), (16000, 512, 80)):
        for name, hop in (("tutorial", window), ("gallery", window), ("mfcc", window // 2)):
            config = composed("train", f"data.sample_rate={rate}", f"featurizer={name}").featurizer
            assert (config.window_size, config.hop_size, config.num_filters) == (window, hop, filters)


@pytest.mark.parametrize("path", sorted(CONFIGS.rglob("*.yaml")), ids=lambda p: p.relative_to(CONFIGS).as_posix())
def test_every_file_opens_with_what_it_is(path):
    first = path.read_text().splitlines()[0]
    assert first.startswith("# "), f"{path}: say in a comment what this choice is"


def test_known_settings_are_what_users_type():
    known = known_settings()
    assert {"data.sample_rate", "model.hidden_size", "trainer.max_epochs", "seed", "optimizer.lr", "model"} <= set(
        known
    )


EXPERIMENTS = [path for path in sorted((CONFIGS / "experiment").glob("*.yaml")) if not path.stem.startswith("base")]


@pytest.mark.parametrize("path", EXPERIMENTS, ids=lambda path: path.stem)
def test_every_experiment_says_how_it_is_run_and_what_it_costs(path):
    lines = path.read_text(encoding="utf-8").splitlines()
    comment = " ".join(line.lstrip("# ") for line in itertools.takewhile(lambda line: line.startswith("#"), lines))
    assert f"python train.py experiment={path.stem}" in comment
    assert re.search(r"epoch takes (about )?\d+( to \d+)? s|\d+ s on a GPU", comment), comment


def test_configurations_of_before_the_modules_moved_still_mean_the_same(tmp_path):
    config = without_run_facts(composed("train", "augment=room"))
    now = OmegaConf.to_yaml(config)
    before = now
    for module, room in (("featurizer", "spotter"), ("vad", "spotter"), ("augment", "data")):
        before = before.replace(f"_target_: kws.{room}.{module}.", f"_target_: kws.{module}.")
    assert before != now
    (tmp_path / "config.yaml").write_text(before)
    assert OmegaConf.to_yaml(stored(tmp_path / "config.yaml")) == now
