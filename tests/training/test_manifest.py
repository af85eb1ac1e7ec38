"""Training and judging on clips that a table names, as typed."""

import csv
import json

import numpy as np
import pytest
import soundfile

from tests.scripts import TONES, call, tone_corpus

SHORT = ("trainer.max_epochs=8", "optimizer.lr=0.02", "model.hidden_size=16", "data.batch_size=16", "export=[]")
CLIPS_ONLY = ("streaming.modes=[]", "detection.hours=0", "runtimes=[]")


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    """Tones in folders; a manifest of them; and the same joined to long recordings, with a manifest of the pieces."""
    home = tmp_path_factory.mktemp("manifest")
    root = tone_corpus(home / "tones", clips=24)
    (home / "long").mkdir()
    rows, pieces = [], []
    for speaker in range(24):
        parts = []
        for word in TONES:
            name = f"{speaker:08x}_nohash_0.wav"
            split = {0: "validation", 1: "testing"}.get(speaker % 4, "training")
            rows.append({"path": f"{word}/{name}", "label": word, "split": split})
            samples, rate = soundfile.read(root / word / name)
            piece = {"audio_filepath": f"long/{speaker}.wav", "offset": float(len(parts)), "duration": 1.0}
            pieces.append(piece | {"command": word, "speaker": f"s{speaker}"})
            parts.append(samples)
        soundfile.write(home / "long" / f"{speaker}.wav", np.concatenate(parts), rate)
    with (root / "clips.tsv").open("w", newline="") as file:
        writer = csv.DictWriter(file, rows[0].keys(), delimiter="\t")
        writer.writeheader()
        writer.writerows(rows)
    (home / "pieces.jsonl").write_text("".join(json.dumps(piece) + "\n" for piece in pieces))
    return home


def figures(folder):
    results = json.loads((folder / "results.json").read_text())
    return {key: results[key] for key in ("test", "validation", "labels", "corpus") if key in results}


def test_the_same_clips_give_the_same_figures(home, tmp_path):
    where = (f"cache_dir={home / 'cache'}", *SHORT)
    options = ("data.words=[high,low]", "data.unknown_share=1", "data.silence_share=0")
    for name, data in (
        ("folder", ("data=folder", f"data.root={home / 'tones'}")),
        ("table", ("data=manifest", f"data.path={home / 'tones' / 'clips.tsv'}")),
    ):
        done = call("train", *data, *where, *options, "trainer.max_epochs=16", f"hydra.run.dir={tmp_path / name}")
        assert done.status == 0, done.err
    folder, table = figures(tmp_path / "folder"), figures(tmp_path / "table")
    assert table["corpus"].pop("name") == "clips" and folder["corpus"].pop("name") == "tones"
    assert table == folder
    assert table["corpus"]["clips"] == {"training": 36, "validation": 18, "testing": 18}
    assert table["test"]["accuracy"] > 0.8


def test_pieces_of_long_recordings(home, tmp_path):
    where = (f"cache_dir={home / 'cache'}", *SHORT)
    data = ("data=manifest", f"data.path={home / 'pieces.jsonl'}", "data.testing_percentage=20")
    done = call("train", *data, *where, "trainer.max_epochs=16", f"hydra.run.dir={tmp_path / 'run'}")
    assert done.status == 0, done.err
    found = figures(tmp_path / "run")
    assert sum(found["corpus"]["clips"].values()) == 72
    assert found["test"]["accuracy"] > 0.8
    judged = call("evaluate", f"run={tmp_path / 'run'}", *CLIPS_ONLY)
    assert judged.status == 0, judged.err
    evaluation = json.loads((tmp_path / "run" / "evaluation.json").read_text())
    assert evaluation["clips"]["accuracy"] == found["test"]["accuracy"]
    # Its own words, judged on another table.
    table = ("data=manifest", f"data.path={home / 'tones' / 'clips.tsv'}", f"cache_dir={home / 'cache'}")
    other = call("evaluate", f"run={tmp_path / 'run'}", *table, *CLIPS_ONLY)
    assert other.status == 0, other.err


def test_what_is_wrong_with_a_manifest_is_one_sentence(home, tmp_path):
    table = tmp_path / "cv.tsv"
    table.write_text("client_id\tpath\tsentence\nx\ta.mp3\tHello there\n")
    for overrides, named in (
        ([], "data.path is not set"),
        ([f"data.path={table}"], "'sentence' holds whole sentences, as in Common Voice"),
        ([f"data.path={home / 'pieces.jsonl'}", "data.columns={label: Wort}"], "no column is called 'Wort'"),
    ):
        done = call("train", "data=manifest", *overrides, f"hydra.run.dir={tmp_path / 'run'}")
        assert done.status == 1
        assert done.err.startswith("error: ") and named in done.err and len(done.err.splitlines()) == 1
