"""The choice of clips: so many per word, `_unknown_`, `_silence_`, the null category."""

from collections import Counter, defaultdict

from kws.corpus import SPLITS, FolderCorpus
from kws.corpus.selection import STRETCHES
from kws.data.cache import waveforms
from tests.recordings import make_corpus, tone, write

WORDS = ("yes", "no", "left", "right", "up")


def counts(corpus) -> dict:
    return Counter((clip.split, clip.label) for clip in corpus.clips)


def test_max_files_per_word_spreads_over_speakers(tmp_path):
    root = make_corpus(tmp_path / "data", takes=3)  # 8 training speakers with 3 clips of each word
    corpus = FolderCorpus(root, max_files_per_word=12, seed=3).scan()
    assert counts(corpus)["training", "yes"] == counts(corpus)["training", "no"] == 12
    assert counts(corpus)["testing", "yes"] == 6
    for word in ("yes", "no"):
        takes = Counter(clip.speaker for clip in corpus.split("training") if clip.label == word)
        assert sorted(takes.values()) == [1] * 4 + [2] * 4
    assert corpus == FolderCorpus(root, max_files_per_word=12, seed=3).scan()
    assert corpus.clips != FolderCorpus(root, max_files_per_word=12, seed=4).scan().clips
    # A larger limit keeps what a smaller one took.
    larger = FolderCorpus(root, max_files_per_word=14, seed=3).scan()
    assert set(corpus.clips) < set(larger.clips)


def test_unknown_is_even_over_the_other_words(tmp_path):
    root = make_corpus(tmp_path / "data", words=WORDS)
    corpus = FolderCorpus(root, words=["no", "yes"], unknown_share=0.75).scan()
    assert corpus.labels == ("_unknown_", "no", "yes")
    assert corpus.keywords == ("no", "yes")
    assert counts(corpus)["training", "_unknown_"] == 12  # of 16 a keyword has
    assert counts(corpus)["testing", "_unknown_"] == 3
    words = defaultdict(Counter)
    for clip in corpus.clips:
        if clip.label == "_unknown_":
            words[clip.split][clip.path.parent.name] += 1
    assert words["training"] == {"left": 4, "right": 4, "up": 4}
    assert words["testing"] == {"left": 1, "right": 1, "up": 1}
    # Every clip is where the lists have it.
    plain = {clip.path: clip.split for clip in FolderCorpus(root).scan().clips}
    assert all(plain[clip.path] == clip.split for clip in corpus.clips)
    many = FolderCorpus(root, words=["no", "yes"], unknown_share=4.0).scan()
    assert counts(many)["training", "_unknown_"] == 48
    assert "_unknown_: 48 clips of other words for training, 64 were asked for" in many.notes


def test_silence_never_shares_noise_between_splits(tmp_path):
    root = make_corpus(tmp_path / "data", noise_seconds=12.0)
    write(root / "_background_noise_" / "short.wav", tone(2.0))
    (root / "_background_noise_" / "broken.wav").write_bytes(b"RIFF")
    corpus = FolderCorpus(root, silence_share=1.5).scan()
    assert corpus.labels == ("_silence_", "no", "yes")
    assert [counts(corpus)[split, "_silence_"] for split in SPLITS] == [24, 6, 6]
    pieces = [clip for clip in corpus.clips if clip.label == "_silence_"]
    for clip in pieces:
        first, last = STRETCHES[clip.split]
        assert clip.duration == 1.0
        assert first * 12 <= clip.start <= last * 12 - 1.0
        assert clip.path.stem in ("hum", "hiss")
    assert {refusal.path.rsplit("/", 1)[1] for refusal in corpus.refused} == {"short.wav", "broken.wav"}
    assert corpus == FolderCorpus(root, silence_share=1.5).scan()
    assert corpus.clips != FolderCorpus(root, silence_share=1.5, seed=2).scan().clips
    # What augmentation may mix in ends where the noise of the evaluation splits begins.
    found = waveforms(corpus, 8000, directory=tmp_path / "cache", progress=False)
    assert [len(noise) for noise in found.noise] == [57600, 57600, 9600]
    silent = found.splits["testing"].labels == 0
    assert silent.sum() == 6
    assert found.splits["testing"].samples[silent].any(axis=1).all()


def test_null_folders_and_ones_own_noise(tmp_path):
    root = make_corpus(tmp_path / "data", words=("yes", "no", "_null_", "_noise_"))
    corpus = FolderCorpus(root).scan()
    assert corpus.labels == ("no", "yes")
    corpus = FolderCorpus(root, null_label="_null_").scan()
    assert corpus.labels == ("_null_", "no", "yes")
    assert counts(corpus)["training", "_null_"] == 32
    noise = tmp_path / "noise"
    write(noise / "street.flac", tone(8.0))
    corpus = FolderCorpus(root, noise=noise, silence_share=0.5, null_label="_null_").scan()
    assert corpus.noise == (noise / "street.flac",)
    assert corpus.labels == ("_null_", "_silence_", "no", "yes")
    assert counts(corpus)["training", "_silence_"] == 8


def test_twelve_classes(tmp_path):
    """The usual task: ten words, the rest, and silence."""
    root = make_corpus(tmp_path / "data", words=[f"word{n}" for n in range(14)], speakers=8, takes=1, noise_seconds=8.0)
    words = [f"word{n}" for n in range(10)]
    corpus = FolderCorpus(root, words=words, unknown_share=1.0, silence_share=1.0).scan()
    assert corpus.labels == ("_silence_", "_unknown_", *words)
    assert set(counts(corpus).values()) == {2, 4}
    assert len(corpus.clips) == 12 * 8
