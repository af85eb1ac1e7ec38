"""What the page reads and writes: recordings of words, settings in a spotter and in conf/vad, clips to step through."""

import io
import sys

import numpy as np
import pytest
import soundfile
import torch
from hydra.utils import instantiate
from omegaconf import OmegaConf

from kws.corpus import FolderCorpus
from kws.listen.sources import read_file
from kws.page.facts import stored_settings
from kws.spotter import Spotter
from kws.support.errors import KwsError
from kws.view.__main__ import listen, main_with
from kws.view.clips import FolderClips, TestClips, sources, wav
from kws.view.recordings import Recordings
from kws.view.saving import save_as_choice, save_into_spotter
from tests.native.spotters import DECODER, make_spotter
from tests.recordings import tone, write


def test_recordings_are_what_was_sent_and_never_over_another(tmp_path):
    recordings = Recordings(tmp_path / "mine")
    assert recordings.counts() == {}
    sent = [tone(1.0, seed=i) for i in range(3)]
    paths = [recordings.add("hey computer", "ab12", wav(samples, 16_000)) for samples in sent]
    assert [path.name for path in paths] == [f"ab12_nohash_{n}.wav" for n in range(3)]
    for path, samples in zip(paths, sent, strict=True):
        kept, rate = soundfile.read(path, dtype="float32")
        assert rate == 16_000
        np.testing.assert_allclose(kept, samples, atol=0.51 / 32768)
        assert soundfile.info(path).subtype == "PCM_16"
    paths[1].unlink()
    first = paths[0].read_bytes()
    assert recordings.add("hey computer", "ab12", wav(sent[0], 16_000)) == paths[1]  # the free place
    assert paths[0].read_bytes() == first
    assert recordings.counts() == {"hey computer": 3}
    assert sorted(path.name for path in (tmp_path / "mine" / "hey computer").iterdir()) == [p.name for p in paths]


def test_a_link_out_of_the_folder_is_not_followed(tmp_path):
    (tmp_path / "mine").mkdir()
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "mine" / "yes").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(KwsError, match="leads out"):
        Recordings(tmp_path / "mine").add("yes", "me", wav(tone(), 16_000))
    (tmp_path / "mine" / "no").mkdir()
    (tmp_path / "mine" / "no" / "me_nohash_0.wav").symlink_to(tmp_path / "elsewhere" / "new.wav")
    assert Recordings(tmp_path / "mine").add("no", "me", wav(tone(), 16_000)).name == "me_nohash_1.wav"
    assert not list((tmp_path / "elsewhere").iterdir())


def test_recorded_words_are_a_corpus(tmp_path):
    recordings = Recordings(tmp_path)
    for word in ("ja", "nein"):
        for speaker in range(12):
            recordings.add(word, f"{speaker:08x}", wav(tone(1.0, seed=speaker), 16_000))
    corpus = FolderCorpus(tmp_path, required_splits=("training",)).scan()
    assert corpus.labels == ("ja", "nein")
    assert {clip.speaker for clip in corpus.clips} == {f"{speaker:08x}" for speaker in range(12)}


@pytest.fixture
def stored(tmp_path):
    spotter = make_spotter(decoder={**DECODER, "smoothing": 0.1})
    spotter.about = {"corpus": "tones", "calibration": {"miss_rate": 0.1}}
    spotter.save(tmp_path / "spotter.ckpt")
    (tmp_path / "results.json").write_text("{}")
    return tmp_path / "spotter.ckpt"


def test_saving_changes_decoder_and_detector_and_nothing_else(stored):
    before = Spotter.load(stored)
    settings = stored_settings(before)
    changed = {**settings, "consecutive": 3, "refractory": 9, "vad": {**settings["vad"], "threshold_up": 2.25}}
    assert save_into_spotter(stored, changed) == changed
    after = Spotter.load(stored)
    assert after.decoder.settings == {**before.decoder.settings, "consecutive": 3, "refractory": 0.36}
    assert after.vad.settings == {**before.vad.settings, "threshold_up": 2.25}
    assert after.about == {"corpus": "tones"}  # what calibration said is no longer true
    for part in ("labels", "featurizer", "classifier"):
        assert after.settings[part] == before.settings[part]
    for name, weight in before.state_dict().items():
        assert torch.equal(after.state_dict()[name], weight)
    assert sorted(path.name for path in stored.parent.iterdir()) == ["results.json", "spotter.ckpt"]
    assert (stored.parent / "results.json").read_text() == "{}"


def test_saving_what_is_stored_leaves_the_file_as_it_is(stored):
    content = stored.read_bytes()
    save_into_spotter(stored, stored_settings(Spotter.load(stored)))
    assert stored.read_bytes() == content


def test_what_was_not_touched_keeps_all_its_digits(stored):
    thresholds = {"_silence_": 0.5, "yes": 0.9906840406549333, "no": 0.123456789}
    spotter = make_spotter(decoder={**DECODER, "threshold": thresholds, "smoothing": 0.1})
    spotter.save(stored)
    save_into_spotter(stored, {**stored_settings(spotter), "consecutive": 5})
    after = Spotter.load(stored)
    assert {word: after.decoder.settings["threshold"][word] for word in ("yes", "no")} == {
        word: thresholds[word] for word in ("yes", "no")
    }
    assert after.vad.settings == spotter.vad.settings
    assert (after.decoder.settings["smoothing"], after.decoder.consecutive) == (0.1, 5)


def test_words_thresholds_and_a_detector_that_is_switched_off(stored):
    settings = stored_settings(Spotter.load(stored))
    save_into_spotter(
        stored, {**settings, "reset": False, "ignored": [True, False, True], "threshold": [0.1, 0.6, 0.9]}
    )
    after = Spotter.load(stored)
    assert after.vad is None
    assert after.decoder.settings["threshold"] == 0.6
    assert after.decoder.ignored == ("_silence_", "no")
    assert after.decoder.settings["smoothing"] == 0.1  # 0.12 s would be the same in hops


def test_a_failure_leaves_the_spotter_whole(stored, monkeypatch):
    content = stored.read_bytes()
    monkeypatch.setattr(torch, "save", lambda *_: (_ for _ in ()).throw(OSError(28, "No space left on device")))
    settings = {**stored_settings(Spotter.load(stored)), "consecutive": 4}
    with pytest.raises(KwsError, match="No space left"):
        save_into_spotter(stored, settings)
    assert stored.read_bytes() == content
    assert sorted(path.name for path in stored.parent.iterdir()) == ["results.json", "spotter.ckpt"]


def test_a_detector_as_a_choice_of_conf(stored, tmp_path):
    spotter = Spotter.load(stored)
    settings = stored_settings(spotter)
    settings["vad"]["threshold_up"] = 2.5
    path = save_as_choice("my_room", settings, spotter, tmp_path)
    assert path.read_text().startswith("# ")
    made = instantiate(OmegaConf.load(path))(num_features=12, frame_duration=0.04)
    expected = {name: value for name, value in spotter.vad.settings.items() if name != "threshold_up"}
    assert made.settings == {**expected, "threshold_up": 2.5}
    with pytest.raises(KwsError, match="not written over"):
        save_as_choice("my_room", settings, spotter, tmp_path)


def test_a_folder_is_stepped_through_as_listen_hears_it(tmp_path):
    spotter = make_spotter()
    write(tmp_path / "yes" / "a.wav", tone(1.0, rate=16_000), 16_000)
    write(tmp_path / "other" / "b.flac", tone(1.0, rate=1000, frequency=90), 1000)
    clips = FolderClips(tmp_path, spotter)
    assert [(clip.name, clip.truth) for clip in clips.clips()] == [("other/b.flac", None), ("yes/a.wav", "yes")]
    for i, name in enumerate(("other/b.flac", "yes/a.wav")):
        expected = np.concatenate([block for block, _ in read_file(tmp_path / name, 1000)])
        np.testing.assert_array_equal(clips.samples(i), expected)
        data, rate = soundfile.read(io.BytesIO(wav(clips.samples(i), 1000)), dtype="float32")
        assert rate == 1000
        np.testing.assert_array_equal(data, expected)
    with pytest.raises(KwsError, match="no such folder"):
        sources(tmp_path, spotter, tmp_path / "nowhere")
    assert list(sources(tmp_path, spotter, tmp_path)) == ["folder"]


def test_the_runs_own_test_clips(tmp_path):
    from tests.scripts import call, tone_corpus

    corpus, run = tone_corpus(tmp_path / "tones"), tmp_path / "run"
    arguments = [
        "debug=fast",
        "data=folder",
        f"data.root={corpus}",
        f"directory={run}",
        f"cache_dir={tmp_path / 'cache'}",
    ]
    made = call("train", *arguments, "export=[]")
    assert made.status == 0, made.err
    spotter = Spotter.load(run / "spotter.ckpt")
    assert list(sources(run, spotter, None)) == ["test"]
    clips = TestClips(run, spotter)
    listed = clips.clips()
    assert {clip.truth for clip in listed} == set(spotter.labels)
    for i in (0, len(listed) - 1):
        samples, rate = soundfile.read(corpus / listed[i].name, dtype="float32")
        assert rate == spotter.sample_rate and listed[i].name.startswith(f"{listed[i].truth}/")
        np.testing.assert_allclose(clips.samples(i), samples, atol=1e-6)


def test_without_its_package_it_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "aiohttp", None)
    with pytest.raises(KwsError, match=r"pip install 'kws\[view\]'"):
        main_with([])


def test_mistakes_are_one_sentence(tmp_path):
    with pytest.raises(KwsError, match="no such directory"):
        main_with([str(tmp_path / "nowhere")])
    taken = listen(0)
    taken.listen()
    with pytest.raises(KwsError, match=r"taken; choose another with --port"):
        listen(taken.getsockname()[1])
    with pytest.raises(KwsError, match="from 0 to 65535"):
        listen(70_000)
    taken.close()
