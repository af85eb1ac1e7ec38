"""Stored configurations from anywhere: bounded to read, and only what kws chooses from is called."""

import time
from pathlib import Path

import pytest
from omegaconf import OmegaConf

from kws.runs import configuration, trusted
from kws.support.errors import KwsError

configuration.register_resolvers()


def stored(tmp_path, text):
    path = tmp_path / "config.yaml"
    path.write_text(text, encoding="utf-8")
    return configuration.stored(path)


def test_what_conf_names_is_known_by_its_whole_name():
    known = trusted.known()
    assert {"kws.corpus.FolderCorpus", "torch.optim.AdamW", "kws.spotter.vad.no_detector"} <= known
    assert not any("hydra" in name or ("Sweep" in name and "sweeping" not in name) for name in known)


@pytest.mark.parametrize(
    "text",
    [
        "a: {_target_: os.system}",
        "a: {b: [{c: 1, _target_: kws.support.files.write_text}]}",
        "a: {_target_: kws.corpus.FolderCorpus.scan}",
        "a: {_target_: '${name}'}\nname: os.system",
        "a: ${b}\nb: ${oc.create:${c}}\nc: '{_target_: os.system}'",
        "a: '${oc.decode:''{_target_: os.system}''}'",
        "a: {_target_: ' kws.corpus.FolderCorpus'}",
    ],
)
def test_strange_targets_are_found_wherever_they_hide(tmp_path, text):
    with pytest.raises(KwsError, match=r"config\.yaml"):
        trusted.refuse_strange_targets(stored(tmp_path, text), tmp_path / "config.yaml")


def test_earlier_names_are_taken_for_the_present_ones(tmp_path):
    config = stored(tmp_path, "a: {_target_: kws.featurizer.Featurizer}\nb: [{_target_: kws.augment.Gain}]")
    trusted.refuse_strange_targets(config, Path("x"))
    assert config.b[0]._target_ == "kws.data.augment.Gain"


LAUGHS = "a0: &a0 [x,x,x,x,x,x,x,x,x,x]\n" + "".join(
    f"a{i}: &a{i} [{','.join([f'*a{i - 1}'] * 10)}]\n" for i in range(1, 12)
)
GROWTH = "a0: " + "x" * 10 + "\n" + "".join(f"a{i}: {f'${{a{i - 1}}}' * 10}\n" for i in range(1, 12))
RELATIVE = "n:\n  a0: " + "x" * 10 + "\n" + "".join(f"  a{i}: {f'${{.a{i - 1}}}' * 10}\n" for i in range(1, 12))
NODES = "a0: {x: 1, y: 2}\n" + "".join(
    f"a{i}: {{{', '.join(f'k{j}: ${{a{i - 1}}}' for j in range(10))}}}\n" for i in range(1, 12)
)


@pytest.mark.parametrize(
    "text",
    [
        LAUGHS,
        GROWTH,
        RELATIVE,
        NODES,
        "[" * 5000,
        "a: " + "{b: " * 200,
        "- 1\n- 2",
        "a: [",
        "a: !!python/name:os.system",
        "a: \x00",
        "a: 1\na: 2",
        "x" * (1 << 21),
        "a: ${b",
        "a: " + "9" * 100_000,
    ],
    ids=lambda text: text[:12],
)
def test_absurd_configurations_are_one_sentence_at_once(tmp_path, text):
    started = time.process_time()
    with pytest.raises(KwsError, match=r"config\.yaml") as error:
        config = stored(tmp_path, text)
        trusted.refuse_strange_targets(config, tmp_path / "config.yaml")
        if "9999" in text:
            raise KwsError("config.yaml: a number, and no harm")
    assert time.process_time() - started < 5
    assert len(str(error.value)) < 600


def test_every_configuration_that_kws_composes_is_read_again(tmp_path):
    from hydra import compose, initialize_config_dir

    experiments = sorted(path.stem for path in (configuration.CONFIGS / "experiment").glob("*.yaml"))
    with initialize_config_dir(str(configuration.CONFIGS), version_base="1.3"):
        manifest = ["data=manifest", "data.path={training: a, testing: [b]}", "data.columns={label: Wort}"]
        rooted = ("base_commands", "commands", "commands_small")  # these need a folder besides
        folder = {name: ["data.root=."] for name in rooted}
        named = ([f"experiment={name}", *folder.get(name, [])] for name in experiments)
        for choices in (["data=folder", "data.root=."], manifest, *named):
            composed = compose("train", [*choices, "directory=."])
            config = stored(tmp_path, OmegaConf.to_yaml(composed))
            trusted.refuse_strange_targets(config, Path("x"))
            assert config == composed
