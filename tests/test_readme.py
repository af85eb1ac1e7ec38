"""Every command of the README runs, shortened: small corpus, small network, one epoch."""

import importlib.util
import itertools
import re
import shlex
import shutil
import subprocess
import sys
import urllib.request
from pathlib import Path

import pytest
from hydra import compose, initialize_config_dir
from hydra.core.override_parser.overrides_parser import OverridesParser

from kws.runs.configuration import CONFIGS, register_resolvers
from tests.scripts import ROOT, TONES, call, tone_corpus

README = (ROOT / "README.md").read_text()


def commands(text):
    """The lines of all blocks of shell commands, in their order."""
    blocks = re.findall(r"^```sh\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    lines = [line.partition("  #")[0].strip() for block in blocks for line in block.splitlines()]
    return [line for line in lines if line and not line.startswith("#")]


COMMANDS = commands(README)
SHORT = ("debug=fast", "data.batch_size=8", "export=[onnx]", "summary=false")


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A corpus, its cache, and one finished run, the last in outputs."""
    folder = tmp_path_factory.mktemp("readme")
    root = tone_corpus(folder / "recordings", clips=12)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("KWS_CACHE", str(folder / "cache"))
        done = call("train", "data=folder", f"data.root={root}", f"hydra.run.dir={folder}/outputs/run", *SHORT)
    assert done.status == 0, done.err
    return folder


def shortened(command, place):
    """The command with this test's recordings and run in place of the reader's."""
    command = command.replace("speech_commands/yes", f"speech_commands/{next(iter(TONES))}")
    return shlex.split(command.replace("../shared/speech_commands", str(place / "recordings")))


def embedded_small(arguments):
    """Words spoken by espeak-ng, but few of them."""
    if "data=spoken" in arguments:
        return ["data.voices=[espeak]", "data.speakers=20", "data.other_words=1", "data.running_speech=1"]
    if any(a.startswith("data=") for a in arguments) or any("resume=" in a for a in arguments):
        return []
    words = [] if any(a.startswith("data.words") for a in arguments) else ["data.words=[yes,no]"]
    return [*words, "data.speakers=20"]


def test_the_readme_has_commands():
    assert len(COMMANDS) >= 12
    assert len(README.splitlines()) < 250


@pytest.mark.parametrize("command", [c for c in COMMANDS if c.startswith("python ")])
def test_command(command, place, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    shutil.copytree(place / "outputs", tmp_path / "outputs")
    monkeypatch.setenv("KWS_CACHE", str(place / "cache"))
    _, *words = shortened(command, place)
    if words[0] == "-m":
        environment = {"PYTHONPATH": str(ROOT), "PATH": "/usr/bin:/bin", "OMP_NUM_THREADS": "1", "HOME": str(tmp_path)}
        if words[1] == "kws.view":  # which stays until it is ended
            opened([*words, "--no-browser", "--port", "0"], environment, tmp_path)
            return
        done = subprocess.run([sys.executable, *words], capture_output=True, text=True, env=environment, cwd=tmp_path)
        assert done.returncode == 0, done.stderr
        return
    script, *arguments = words
    script = Path(script).stem
    if "data=speech_commands" in arguments:
        arguments = [*arguments, "--cfg", "job"]  # the download itself is tested with a small archive
    elif script == "train":
        sweep = "-m" in arguments
        arguments = [*arguments, *embedded_small(arguments)]
        if not any("resume=" in a for a in arguments):
            arguments += [a for a in SHORT if not (sweep and a.startswith("debug"))]
            arguments += ["trainer.max_epochs=1", "+trainer.limit_train_batches=2"] if sweep else []
    elif script == "evaluate":
        arguments = [*arguments, "detection.hours=0.02", "runtimes=[]"]
    done = call(script, *arguments)
    assert done.status == 0, done.err


def opened(words, environment, folder):
    """Start the page, and ask for it once."""
    with subprocess.Popen(
        [sys.executable, *words], stdout=subprocess.PIPE, text=True, env=environment, cwd=folder
    ) as server:
        try:
            with urllib.request.urlopen(server.stdout.readline().strip(), timeout=30) as page:
                assert b"kws-token" in page.read()
        finally:
            server.terminate()


@pytest.mark.parametrize("command", [c for c in COMMANDS if not c.startswith("python ")])
def test_other_command(command):
    name, *words = shlex.split(command)
    if command == ". .venv/bin/activate":
        return  # below
    if name == "make":
        assert re.search(rf"^{words[0]}:", (ROOT / "Makefile").read_text(), re.M)
    else:
        assert (Path(sys.executable).parent / name).exists(), command


PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_commands_work_as_they_are_printed(page):
    """No placeholder that a shell takes for a word or a redirection, and scripts and modules that are there."""
    for command in commands(page.read_text(encoding="utf-8")):
        assert not re.search(r"…|<\w|\bDIR\b|\bRUN\b", command), command
        words = shlex.split(command)
        if words[0] == "python" and words[1] != "-m":
            assert (ROOT / words[1]).is_file(), command
        elif words[0] == "python":
            assert importlib.util.find_spec(words[2]), command


def test_in_the_order_in_which_they_are_printed_a_new_shell_finds_what_they_need(tmp_path):
    """make creates .venv with all that is needed, and outside of it there is nothing: no hydra, no tensorboard."""
    bare, log = tmp_path / "bin", tmp_path / "log"
    write_program(bare / "python", "echo \"No module named 'hydra'\" >&2; exit 1")
    inside = f'echo "$(basename $0) $*" >> {log}'
    made = " ".join(f"cp {tmp_path}/inside .venv/bin/{name};" for name in ("python", "tensorboard", "pip"))
    write_program(tmp_path / "inside", inside)
    recipe = f"mkdir -p .venv/bin; {made} echo 'PATH=$PWD/.venv/bin:$PATH' > .venv/bin/activate; {inside}"
    write_program(bare / "make", recipe)
    script = "set -e\n" + "\n".join(COMMANDS)
    environment = {"PATH": f"{bare}:/usr/bin:/bin", "HOME": str(tmp_path)}
    (tmp_path / "clone").mkdir()
    done = subprocess.run(["sh", "-c", script], cwd=tmp_path / "clone", env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert len(log.read_text().splitlines()) == len(COMMANDS) - COMMANDS.count(". .venv/bin/activate")
    assert COMMANDS.index(". .venv/bin/activate") == 1


def write_program(path, text):
    path.parent.mkdir(exist_ok=True)
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)


SWEEPS = re.findall(r"^python train.py (-m .*?)(?:  +#.*)?$", (ROOT / "docs" / "sweeps.md").read_text(), re.M)


@pytest.mark.parametrize("command", SWEEPS)
def test_every_value_of_the_sweeps_composes(command):
    """Each by itself: the sweeps are too long to be run, and tests/sweeping runs short ones."""
    register_resolvers()
    overrides = OverridesParser.create().parse_overrides(shlex.split(command)[1:])
    values = [[f"{o.get_key_element()}={v}" for v in o.sweep_string_iterator()] for o in overrides if sweeps(o)]
    rest = [o.input_line for o in overrides if not o.is_sweep_override()]
    with initialize_config_dir(str(CONFIGS), version_base="1.3"):
        for given in itertools.product(*values):
            composed = compose("train", [*rest, *given], return_hydra_config=True)
            assert composed.model is not None


def sweeps(override):
    return override.is_sweep_override() and not override.is_interval_sweep()


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_linked_files_exist(page):
    for target in re.findall(r"\]\((?!http)([^)#]+)", page.read_text(encoding="utf-8")):
        assert (page.parent / target).exists(), target


def test_the_choices_listed_are_those_that_exist():
    rows = re.findall(r"^\| `(\w+)` \| (.*) \|$", README, re.M)
    groups = {group: set(re.findall(r"`(\w+)`", text)) for group, text in rows if (ROOT / "conf" / group).is_dir()}
    assert {"data", "featurizer", "augment", "model", "vad", "export", "debug"} <= set(groups)
    for group, named in groups.items():
        files = {path.stem for path in (ROOT / "conf" / group).glob("*.yaml") if not path.stem.startswith("base")}
        assert files <= named, f"README leaves out {group}={files - named}"
