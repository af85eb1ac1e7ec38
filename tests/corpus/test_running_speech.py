"""Running speech without keywords: what is said, by whom, and that it is made once."""

import numpy as np
import pytest
import soundfile

from kws.corpus import FolderCorpus
from kws.corpus.running_speech import RECORDING_SECONDS, SAMPLE_RATE, RunningSpeech, unsaid
from kws.corpus.sentences import sentence
from kws.support.errors import KwsError


def test_sentences_leave_words_out_and_differ():
    generator = np.random.default_rng(1)
    said = [sentence(generator, {"the", "no", "up"}) for _ in range(200)]
    words = {word.strip(".,?'").lower() for text in said for word in text.split()}
    assert words.isdisjoint({"the", "no", "up"})
    assert {"upstairs", "snow"} & words  # a keyword within a longer word is what running speech is for
    assert len(set(said)) == len(said)
    assert not [text for text in said if "{" in text]
    with pytest.raises(ValueError, match="without"):
        sentence(generator, {word.strip(".,?'").lower() for _ in range(9000) for word in sentence(generator).split()})


def test_keywords_their_parts_and_what_sounds_like_them_are_not_said():
    assert unsaid(["No", "hey computer", "left"]) == {"no", "know", "hey", "computer", "left"}
    assert unsaid([]) == set()


def test_made_once_by_voices_of_one_split(tmp_path):
    source = RunningSpeech(tmp_path, minutes=2, seed=3)
    folder = source.prepare(["yes", "no"])
    paths = sorted(folder.glob("*.flac"))
    assert [soundfile.info(path).frames for path in paths] == [RECORDING_SECONDS * SAMPLE_RATE] * 2
    samples = [soundfile.read(path)[0] for path in paths]
    assert all(0.01 < np.sqrt(np.mean(x**2)) < 0.3 for x in samples)
    times = [path.stat().st_mtime_ns for path in paths]
    assert RunningSpeech(tmp_path, minutes=2, seed=3).prepare(["no", "yes"]) == folder
    assert [path.stat().st_mtime_ns for path in paths] == times
    elsewhere = RunningSpeech(tmp_path / "b", minutes=2, seed=3).prepare(["yes", "no"])
    assert [path.read_bytes() for path in sorted(elsewhere.glob("*.flac"))] == [path.read_bytes() for path in paths]
    others = [RunningSpeech(tmp_path, 2, 3, "validation"), RunningSpeech(tmp_path, 2, 4), RunningSpeech(tmp_path, 1, 3)]
    assert len({folder, *(other.prepare(["yes", "no"]) for other in others)}) == 4
    assert RunningSpeech(tmp_path, minutes=0).prepare(["yes"]) is None
    with pytest.raises(KwsError, match=r"data\.running_speech"):
        RunningSpeech(tmp_path, minutes=-1)


@pytest.fixture
def recordings(tmp_path):
    """Four words of ten clips each, and two long recordings beside them."""
    random = np.random.default_rng(0)
    for word in ("yes", "no", "bed", "cat"):
        (tmp_path / "words" / word).mkdir(parents=True)
        for number in range(10):
            noise = 0.1 * random.standard_normal(8000)
            soundfile.write(tmp_path / "words" / word / f"{number:08x}_nohash_0.wav", noise, 8000)
    (tmp_path / "long" / "deeper").mkdir(parents=True)
    for name, seconds in (("one.flac", 3.9), ("deeper/two.wav", 2.0), ("short.wav", 0.5)):
        soundfile.write(tmp_path / "long" / name, 0.1 * random.standard_normal(round(8000 * seconds)), 8000)
    return tmp_path


def scan(recordings, **more):
    return FolderCorpus(recordings / "words", words=["yes", "no"], required_splits=["training"], **more).scan()


def test_long_recordings_are_cut_into_other_speech_for_training(recordings):
    corpus = scan(recordings, negatives=[recordings / "long"])
    pieces = [clip for clip in corpus.clips if clip.label == "_unknown_"]
    assert {(clip.path.name, clip.start, clip.duration, clip.split) for clip in pieces} == {
        ("one.flac", 0.0, 1.0, "training"),
        ("one.flac", 1.0, 1.0, "training"),
        ("one.flac", 2.0, 1.0, "training"),
        ("two.wav", 0.0, 1.0, "training"),
        ("two.wav", 1.0, 1.0, "training"),
    }
    assert corpus.labels == ("_unknown_", "yes", "no")
    for folder, problem in (("nowhere", "no folder"), ("words/yes/..", "")):
        if problem:
            with pytest.raises(KwsError, match=problem):
                scan(recordings, negatives=[recordings / folder])


def test_other_words_by_themselves(recordings):
    together, apart = scan(recordings, unknown_share=2.0), scan(recordings, unknown_share=2.0, unknown_labels=True)
    assert together.labels == ("_unknown_", "yes", "no")
    assert apart.labels == ("_bed_", "_cat_", "yes", "no")
    assert apart.keywords == ("yes", "no")
    assert [clip.path for clip in together.clips if clip.label == "_unknown_"] == sorted(
        (clip.path for clip in apart.clips if clip.label.startswith("_")),
        key=lambda path: [clip.path for clip in together.clips].index(path),
    )
