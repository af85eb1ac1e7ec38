"""The featurizer: against ELL's numbers, other libraries, and itself in the other gear."""

import itertools

import librosa
import numpy as np
import pytest
import scipy.fft
import torch
import torchaudio

from kws.spotter.featurizer import Featurizer, dct_matrix, filterbank_bins, filterbank_weights, hamming_window, mel
from kws.support.errors import KwsError
from tests.conftest import GOLDEN

VECTORS = GOLDEN / "ell" / "featurizer"

# Settings of each file that ELL computed; those left out are the defaults: 8 kHz, 256, 256, 40 mel filters, log.
ELL = {
    "f16k_256_256_40": {"sample_rate": 16000},
    "f16k_512_160_40_default": {"sample_rate": 16000, "window_size": 512, "hop_size": 160, "log": False},
    "f16k_512_512_80_log": {"sample_rate": 16000, "window_size": 512, "hop_size": 512, "num_filters": 80},
    "f8k_256_128_40_log": {"hop_size": 128},
    "f8k_256_256_40_log": {},
    "f8k_256_256_40_nolog": {"log": False},
    "f8k_all": {
        "hop_size": 128,
        "num_filters": 26,
        "dct": 26,
        "hamming": True,
        "pre_emphasis": True,
        "power_spectrum": True,
        "log_delta": 1e-3,
    },
    "f8k_autoscale": {"auto_scale": True},
    "f8k_dct": {"num_filters": 13, "dct": 13},
    "f8k_hamming": {"hamming": True},
    "f8k_iir": {"pre_emphasis": True},
    "f8k_linear": {"filterbank": "linear"},
    "f8k_nfft512": {"fft_size": 512},
    "f8k_power": {"power_spectrum": True},
    "f8k_ws400": {"window_size": 400, "hop_size": 160},
    "f8k_ws400_nfft512": {"window_size": 400, "hop_size": 160, "fft_size": 512},
}


def test_every_vector_is_covered():
    assert {path.name.removesuffix(".out.npy") for path in VECTORS.glob("*.out.npy")} == set(ELL)


@pytest.mark.parametrize("name", ELL)
def test_equals_ell(name):
    samples = torch.from_numpy(np.load(VECTORS / "audio_pm1.npy"))[None]
    expected = np.load(VECTORS / f"{name}.out.npy")
    computed = Featurizer(**ELL[name])(samples)[0].numpy()
    assert computed.shape == expected.shape
    # Cepstra are sums of many logarithms, up to 180 here; everything else on a log scale holds 1e-5.
    cepstra_or_linear = "dct" in ELL[name] or ELL[name].get("log") is False
    assert np.abs(computed - expected).max() <= (1e-4 if cepstra_or_linear else 1e-5)


GRID = [
    {
        "sample_rate": rate,
        "window_size": window,
        "hop_size": hop,
        "filterbank": filterbank,
        "hamming": flag,
        "pre_emphasis": flag,
        "power_spectrum": power,
        "dct": dct,
    }
    for (rate, window, hop), filterbank, flag, power, dct in itertools.product(
        [(8000, 256, 256), (8000, 200, 80), (16000, 512, 160)],
        ["mel", "linear"],
        [False, True],
        [False, True],
        [None, 13],
    )
]


@pytest.mark.parametrize("settings", GRID, ids=lambda s: "-".join(str(v) for v in s.values()))
def test_stream_equals_whole_clip(settings):
    featurizer = Featurizer(**settings)
    samples = torch.randn(3, featurizer.hop_size * 7 + 5, generator=torch.Generator().manual_seed(0)) * 0.1
    whole = featurizer(samples)
    assert whole.shape == (3, 7, featurizer.num_features)
    state, frames = featurizer.initial_state(3), []
    for hop in range(7):
        piece = samples[:, hop * featurizer.hop_size : (hop + 1) * featurizer.hop_size]
        frame, state = featurizer.step(piece, state)
        frames.append(frame)
    torch.testing.assert_close(torch.stack(frames, 1), whole, rtol=1e-6, atol=2e-5)


def test_blocks_of_any_number_of_hops_give_the_same():
    featurizer = Featurizer(hop_size=100, pre_emphasis=True)
    samples = torch.randn(2, 2000, generator=torch.Generator().manual_seed(1))
    state, frames = featurizer.initial_state(2), []
    for hops in (3, 0, 1, 9, 7):
        piece, samples_left = samples[:, : hops * 100], samples[:, hops * 100 :]
        block, state = featurizer.stream(piece, state)
        assert block.shape == (2, hops, 40)
        frames.append(block)
        samples = samples_left
    whole = featurizer(torch.randn(2, 2000, generator=torch.Generator().manual_seed(1)))
    torch.testing.assert_close(torch.cat(frames, 1), whole, rtol=0, atol=1e-5)


def test_sixteen_bit_scale():
    samples = torch.randn(1, 2560, generator=torch.Generator().manual_seed(2)) * 0.1
    scaled = Featurizer(auto_scale=False, log=False)(samples)
    torch.testing.assert_close(scaled, 32768 * Featurizer(log=False)(samples), rtol=1e-5, atol=0)


def test_spectrum_against_torch_stft():
    samples = torch.randn(1, 8000, generator=torch.Generator().manual_seed(3))
    featurizer = Featurizer(window_size=400, hop_size=160, hamming=True, log=False, filterbank="linear", num_filters=20)
    padded = torch.nn.functional.pad(samples, (240, 0))
    window = torch.hamming_window(400, periodic=False)
    # torch.stft centres a short window in the FFT; a delay changes phases only, so magnitudes coincide.
    spectrum = torch.stft(padded, 512, 160, 400, window, center=False, return_complex=True).abs()
    frames = min(spectrum.shape[-1], 50)
    expected = spectrum.transpose(1, 2) @ featurizer.filters
    # With center=False torch's frames are 512 long, so its k-th frame starts 56 samples before the window does.
    padded = torch.nn.functional.pad(samples, (240 + 56, 56))
    expected = torch.stft(padded, 512, 160, 400, window, center=False, return_complex=True).abs()
    expected = expected.transpose(1, 2) @ featurizer.filters
    torch.testing.assert_close(featurizer(samples)[:, :frames], expected[:, :frames], rtol=0, atol=5e-4)


def test_window_is_the_symmetric_hamming_window():
    expected = torch.hamming_window(400, periodic=False, dtype=torch.float64).numpy()
    np.testing.assert_allclose(hamming_window(400), expected, atol=1e-7)


def test_mel_scale_against_librosa():
    hertz = np.linspace(0, 8000, 50)
    np.testing.assert_allclose(mel(hertz), librosa.hz_to_mel(hertz, htk=True), rtol=1e-3)


def test_dct_against_scipy():
    x = np.random.default_rng(0).normal(size=(5, 40))
    np.testing.assert_allclose(x @ dct_matrix(40, 13), scipy.fft.dct(x, type=2)[:, :13] / 2, atol=1e-4)


def test_pre_emphasis_against_torchaudio():
    samples = torch.randn(2, 2560, generator=torch.Generator().manual_seed(4))
    emphasised = torchaudio.functional.preemphasis(samples, 0.97)
    torch.testing.assert_close(
        Featurizer(pre_emphasis=True, log=False)(samples), Featurizer(log=False)(emphasised), rtol=0, atol=1e-4
    )


def test_triangles_peak_at_their_centre_and_meet_at_its_neighbours():
    bins = filterbank_bins("mel", 20, 1024, 16000)
    weights = filterbank_weights("mel", 20, 1024, 16000)
    for i in range(20):
        assert weights[bins[i + 1], i] == 1.0
        assert weights[bins[i], i] == 0.0
        assert weights[bins[i + 2], i] == 0.0
    inside = weights[bins[1] : bins[20]]
    np.testing.assert_allclose(inside.sum(1), 1.0, atol=1e-12)  # neighbours share every bin between them


def test_a_filter_whose_bins_coincide_is_empty():
    bins = filterbank_bins("mel", 200, 256, 8000)
    # Nothing falls, and what rises over one bin starts at 0.
    empty = ((bins[1:-1] == bins[2:]) & (bins[1:-1] - bins[:-2] <= 1)).nonzero()[0]
    assert len(empty)
    assert set(empty) == set((filterbank_weights("mel", 200, 256, 8000).sum(0) == 0).nonzero()[0])


@pytest.mark.parametrize(
    ("settings", "named"),
    [
        ({"hop_size": 512}, "hop_size=512"),
        ({"fft_size": 128}, "fft_size=128"),
        ({"filterbank": "bark"}, "'bark'"),
        ({"log_delta": 0.0}, "log_delta=0.0"),
        ({"dct": 41}, "dct=41"),
        ({"num_filters": 0}, "num_filters=0"),
        ({"sample_rate": 0}, "sample_rate=0"),
    ],
)
def test_contradictions_are_named(settings, named):
    with pytest.raises(KwsError, match=named):
        Featurizer(**settings)


def test_a_piece_that_is_no_whole_number_of_hops_is_refused():
    featurizer = Featurizer()
    with pytest.raises(ValueError, match="300"):
        featurizer.stream(torch.zeros(1, 300), featurizer.initial_state())
