"""Augmentation: the numbers it promises, that it repeats, and what it makes of extreme clips."""

import math

import numpy as np
import pytest
import soundfile
import torch
from hydra import compose, initialize_config_dir
from hydra.utils import instantiate

from kws.data.augment import (
    Augment,
    BackgroundNoise,
    Gain,
    RandomEqualizer,
    RandomSpeaker,
    Reverberation,
    SpecAugment,
    SpeedPitch,
    TimeShift,
)
from kws.runs.configuration import CONFIGS, register_resolvers
from kws.spotter.featurizer import Featurizer
from kws.support.errors import KwsError

register_resolvers()

RATE = 8000


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


@pytest.fixture
def clips():
    return 0.1 * torch.randn(64, RATE, generator=generator(1))


def noise_recordings(seed=2):
    return [0.05 * torch.randn(length, generator=generator(seed + length)) for length in (20_000, 9_000, 3_000)]


def background(*arguments, recordings=None, **settings):
    augmentation = BackgroundNoise(*arguments, **settings)
    augmentation.set_noise(noise_recordings() if recordings is None else recordings, RATE)
    return augmentation


def all_of(**settings):
    return [TimeShift(), Gain(), background(), SpeedPitch(), Reverberation(probability=0.5)]


def decibel(power):
    return 10 * torch.log10(power)


# Time


def test_time_shift_moves_the_content_and_fills_with_silence(clips):
    shifted = TimeShift(0.05)(clips, generator(), RATE)
    found = []
    for clip, moved in zip(clips, shifted, strict=True):
        correlation = torch.nn.functional.conv1d(moved[None, None], clip[None, None], padding=400)[0, 0]
        shift = int(correlation.argmax()) - 400
        expected = torch.roll(clip, shift)
        expected[(slice(0, shift) if shift >= 0 else slice(RATE + shift, RATE))] = 0
        assert torch.equal(moved, expected)
        found.append(shift)
    assert min(found) < -300
    assert max(found) > 300
    assert max(map(abs, found)) <= 400


def test_time_shift_longer_than_the_clip(clips):
    assert TimeShift(100.0)(clips, generator(), RATE).shape == clips.shape
    assert torch.equal(TimeShift(0.0)(clips, generator(), RATE), clips)


# Level


def test_gain_in_decibel(clips):
    gain = decibel((Gain(-9, 3)(clips, generator(), RATE) / clips).square().mean(1))
    assert gain.min() >= -9.001
    assert gain.max() <= 3.001
    assert gain.std() > 2
    torch.testing.assert_close(Gain(6, 6)(clips, generator(), RATE), clips * 10 ** (6 / 20))


# Noise


@pytest.mark.parametrize("ratio", [-5.0, 0.0, 20.0])
def test_signal_to_noise_ratio_is_reached(clips, ratio):
    added = background(ratio, ratio, 1.0)(clips, generator(), RATE) - clips
    reached = decibel(clips.square().mean(1) / added.square().mean(1))
    assert (reached - ratio).abs().max() < 0.1


def test_signal_to_noise_ratios_fill_their_range(clips):
    added = background(5, 15, 1.0)(clips, generator(), RATE) - clips
    reached = decibel(clips.square().mean(1) / added.square().mean(1))
    assert 4.9 < reached.min() < 6
    assert 14 < reached.max() < 15.1


def test_noise_comes_from_the_recordings():
    """What is added is a piece of one of them, wherever that begins."""
    ramp = [torch.arange(1, 12_001).to(torch.int16), -torch.arange(1, 9_001).to(torch.int16)]
    clip = torch.full((50, RATE), 0.1)
    added = background(0, 0, 1.0, recordings=ramp)(clip, generator(), RATE) - clip
    steps = added.diff(dim=1)
    rising = added[:, 0] > 0
    assert 10 < rising.sum() < 40
    torch.testing.assert_close(steps, steps.mean(1, keepdim=True).expand_as(steps), atol=1e-6, rtol=0.01)
    first = added[:, 0] / steps.mean(1)
    assert first[rising].min() > 0.5
    assert first[rising].max() < 12_001 - RATE + 5
    assert first[rising].std() > 500


def test_probability_of_noise(clips):
    many = clips.repeat(20, 1)[:, :800]
    changed = (background(0, 10, 0.3)(many, generator(), RATE) != many).any(1)
    assert changed.float().mean() == pytest.approx(0.3, abs=0.04)
    assert torch.equal(background(0, 10, 0.0)(clips, generator(), RATE), clips)


def test_int16_and_float_recordings_are_the_same_noise(clips):
    integers = [(recording * 32768).round().to(torch.int16) for recording in noise_recordings()]
    floats = [recording.numpy() / np.float32(32768) for recording in integers]
    first, second = (background(recordings=r)(clips, generator(), RATE) for r in (integers, floats))
    assert torch.equal(first, second)


def test_recordings_of_odd_lengths(clips):
    short = background(0, 0, 1.0, recordings=[torch.zeros(0), torch.tensor([0.1, -0.2, 0.3])])
    added = short(clips, generator(), RATE) - clips
    torch.testing.assert_close(added[:, :-3], added[:, 3:], atol=1e-5, rtol=0)  # repeated to the clip's length
    exact = background(0, 0, 1.0, recordings=[0.1 * torch.randn(RATE, generator=generator())])
    assert exact(clips, generator(), RATE).isfinite().all()
    assert short(clips[:, :100], generator(), RATE).shape == (64, 100)  # another length of clips


def test_silence(clips):
    silent = torch.zeros(4, RATE)
    for augmentation in all_of():
        assert torch.equal(augmentation(silent, generator(), RATE), silent)
    digital = background(0, 0, 1.0, recordings=[torch.zeros(RATE)])
    assert torch.equal(digital(clips, generator(), RATE), clips)


def test_noise_without_recordings_is_an_error(clips):
    for recordings in ([], [torch.zeros(0)]):
        with pytest.raises(KwsError, match="no recordings"):
            background(recordings=recordings)(clips, generator(), RATE)


def test_noise_from_a_folder_of_ones_own(tmp_path, clips):
    soundfile.write(tmp_path / "tone.wav", 0.5 * np.sin(2 * np.pi * 440 * np.arange(32_000) / 16_000), 16_000)
    added = background(0, 0, 1.0, folder=tmp_path)(clips, generator(), RATE) - clips
    loudest = torch.fft.rfft(added).abs().argmax(1)
    assert ((loudest - 440).abs() <= 1).all()  # bins of 1 Hz
    with pytest.raises(KwsError, match="no folder"):
        background(folder=tmp_path / "missing")
    with pytest.raises(KwsError, match="holds no"):
        (tmp_path / "empty").mkdir()
        background(folder=tmp_path / "empty")


# Speed and pitch


@pytest.mark.parametrize("factor", [0.9, 0.95, 1.05, 1.1])
def test_speed_moves_a_tone_and_keeps_its_level(factor):
    time = torch.arange(RATE) / RATE
    tone = 0.5 * torch.sin(2 * torch.pi * 500 * time)[None]
    changed = SpeedPitch([factor])(tone, generator(), RATE)
    assert changed.shape == tone.shape
    middle = changed[0, 1000:7000]
    assert int(torch.fft.rfft(middle * torch.hann_window(6000), 80_000).abs().argmax()) / 10 == pytest.approx(
        500 * factor, abs=0.5
    )
    assert middle.square().mean() == pytest.approx(0.125, rel=0.01)


def test_speed_keeps_the_middle_in_the_middle():
    click = torch.zeros(2, RATE)
    click[:, RATE // 2] = 1
    for factor in (0.8, 1.25):
        assert abs(int(SpeedPitch([factor])(click, generator(), RATE)[0].argmax()) - RATE // 2) <= 2


def test_each_clip_draws_its_speed(clips):
    augmentation = SpeedPitch((0.9, 1.0, 1.1))
    changed = augmentation(clips, generator(), RATE)
    alone = [SpeedPitch([factor])(clips, generator(), RATE) for factor in (0.9, 1.0, 1.1)]
    matches = torch.stack([torch.isclose(changed, other, atol=1e-5).all(1) for other in alone])
    assert (matches.sum(0) == 1).all()
    assert matches.sum(1).min() > 10
    assert torch.equal(alone[1], clips)


# Rooms


def test_rooms_decay_as_asked():
    room = Reverberation(0.3, 0.3, 6, 6, 1.0)
    responses = room.responses(400, RATE // 2, generator(), RATE)
    torch.testing.assert_close(responses.square().sum(1), torch.ones(400))
    tail = responses[:, 1:].square()
    assert decibel(responses[:, 0].square() / tail.sum(1)).numpy() == pytest.approx(6, abs=0.01)
    power = decibel(tail.mean(0)[: RATE // 4])
    slope = np.polyfit(np.arange(20, RATE // 4) / RATE, power[20:].numpy(), 1)[0]
    assert slope == pytest.approx(-60 / 0.3, rel=0.03)
    assert torch.equal(responses[:, 1:15], torch.zeros(400, 14))  # 2 ms


def test_reverberation_is_the_convolution_with_the_room(clips):
    room = Reverberation(0.05, 0.05, 3, 3, 1.0)
    impulse = torch.zeros(3, RATE)
    impulse[:, 0] = 1
    responses = room(impulse, generator(), RATE)
    changed = room(clips[:3], generator(), RATE)  # the same draws
    for clip, response, result in zip(clips, responses, changed, strict=False):
        expected = np.convolve(clip.numpy().astype(np.float64), response.numpy())[:RATE]
        assert result.numpy() == pytest.approx(expected, abs=1e-5)


def test_probability_of_rooms(clips):
    changed = (Reverberation(probability=0.25)(clips.repeat(4, 1), generator(), RATE) != clips.repeat(4, 1)).any(1)
    assert changed.float().mean() == pytest.approx(0.25, abs=0.08)
    assert torch.equal(Reverberation(probability=0.0)(clips, generator(), RATE), clips)


# Features


def test_masks_are_as_wide_as_asked():
    features = torch.randn(500, 31, 40, generator=generator())
    hidden = SpecAugment(1, 4, 0, 0)(features, generator()) != features
    assert (hidden.all(2) == hidden.any(2)).all()  # whole frames
    widths = hidden.all(2).sum(1)
    assert widths.unique().tolist() == [0, 1, 2, 3, 4]
    for row, width in zip(hidden.all(2), widths, strict=True):
        assert width == 0 or row.nonzero().max() - row.nonzero().min() + 1 == width  # in one piece
    hidden = SpecAugment(0, 0, 2, 6)(features, generator()) != features
    assert (hidden.all(1) == hidden.any(1)).all()  # whole filters
    assert hidden.all(1).sum(1).max() <= 12
    assert hidden.all(1).sum(1).float().mean() == pytest.approx(6, abs=0.5)  # 2 × 3, less where they overlap
    assert hidden.any(1).any(0).all()  # every filter is hidden at some time


def test_widths_below_one_are_shares():
    """The same draws as whole numbers make: 0.16 of 31 frames are 5, 0.15 of 80 filters 12."""
    features = torch.randn(50, 31, 80, generator=generator())
    shares = SpecAugment(2, 0.16, 2, 0.15)(features, generator())
    assert torch.equal(shares, SpecAugment(2, 5, 2, 12)(features, generator()))


def test_masks_show_the_mean_of_each_feature():
    features = torch.randn(20, 31, 40, generator=generator()) + torch.arange(20)[:, None, None]
    masked = SpecAugment()(features, generator())
    means = features.mean(1, keepdim=True).expand_as(features)
    torch.testing.assert_close(masked, torch.where(masked == features, features, means))
    augment = Augment(RATE, features=[SpecAugment()])
    augment.set_fill(torch.arange(40.0))
    masked = augment.features(features, generator())
    assert ((masked == features) | (masked == torch.arange(40.0))).all()
    assert (masked != features).any()
    assert torch.equal(augment.features(features, generator(), masks=False), features)


@pytest.mark.parametrize(
    "settings",
    [{}, {"log_delta": 1e-3, "hamming": True}, {"power_spectrum": True, "log_delta": 1e-6}, {"log": False}],
    ids=str,
)
def test_an_equalizer_multiplies_the_filters_outputs(clips, settings):
    """Against the featurizer with its filters multiplied by the same curve."""
    featurizer = Featurizer(**settings)
    equalizer = RandomEqualizer(deviation_db=6.0, points=3)
    equalizer.set_featurizer(featurizer)
    changed = equalizer(featurizer(clips[:4]), generator(5))
    decibels = 6.0 * torch.randn(4, 1, 3, generator=generator(5))
    place = torch.linspace(0, 2, 40)
    left = place.floor().long().clamp(max=1)
    curve = torch.lerp(decibels[:, 0, left], decibels[:, 0, left + 1], place - left)  # (4, 40)
    for clip, row, found in zip(clips[:4], curve, changed, strict=True):
        coloured = Featurizer(**settings)
        coloured.filters.mul_(10 ** (row / (10 if featurizer.power_spectrum else 20)))
        torch.testing.assert_close(found, coloured(clip[None])[0], rtol=2e-4, atol=2e-5)


def test_cepstra_have_no_filters_to_equalize():
    with pytest.raises(KwsError, match=r"featurizer\.dct=null"):
        Augment(RATE, features=[RandomEqualizer()]).set_featurizer(Featurizer(dct=13))


def test_another_tempo_reads_frames_further_apart():
    speaker = RandomSpeaker(tempo=0.3, swing=0.0, tract=0.0)
    frames = torch.arange(61.0)[None, :, None].expand(200, -1, 3)
    changed = speaker(frames, generator())[:, :, 0]
    assert torch.allclose(changed[:, 30], torch.tensor(30.0), atol=1e-4)  # about the middle
    steps = changed[:, 31] - changed[:, 30]
    assert math.exp(-0.3) <= steps.min() < 0.8 and 1.25 < steps.max() <= math.exp(0.3)
    whole = (30 + steps[:, None] * (torch.arange(61.0) - 30)).clamp(0, 60)  # and its ends stay
    assert torch.allclose(changed, whole, atol=1e-3)


def test_a_swinging_tempo_never_goes_back():
    changed = RandomSpeaker(tempo=0.0, swing=0.9, tract=0.0)(
        torch.arange(61.0)[None, :, None].expand(200, -1, 1), generator()
    )
    steps = changed.diff(dim=1)
    assert steps.min() >= 0
    inside = steps[(changed[:, 1:] < 60) & (changed[:, :-1] > 0)]
    assert 0.05 < inside.min() < 0.3 and 1.6 < inside.max() < 1.9 + 1e-3


def test_another_vocal_tract_moves_a_formant_by_its_factor():
    featurizer = Featurizer(16000, 512, 256, num_filters=40)
    speaker = RandomSpeaker(tempo=0.0, swing=0.0, tract=0.2)
    speaker.set_featurizer(featurizer)
    centres = featurizer.filter_centres()
    formant = 1500.0
    features = torch.exp(-(((centres - formant) / 300) ** 2))[None, None].expand(300, 4, -1)
    changed = speaker(features, generator())[:, 0]
    found = (changed * centres).sum(1) / changed.sum(1)
    plain = (features[0, 0] * centres).sum() / features[0, 0].sum()
    factors = found / plain
    assert 0.8 < factors.min() < 0.86 and 1.16 < factors.max() < 1.25
    # The formant at 1,500 Hz of a speaker whose factor is 1.1 lies at 1,650.
    torch.manual_seed(0)
    at = changed[(factors - 1.1).abs().argmin()]
    assert abs(centres[at.argmax()] - 1650) < 160


def test_the_same_speaker_changes_nothing():
    features = torch.randn(8, 61, 40, generator=generator())
    assert torch.allclose(RandomSpeaker(0.0, 0.0, 0.0)(features, generator()), features, atol=1e-4)


def test_cepstra_have_no_formants_to_move():
    with pytest.raises(KwsError, match="RandomSpeaker moves the outputs of filters"):
        RandomSpeaker().set_featurizer(Featurizer(8000, 256, 256, num_filters=20, dct=13))


def test_masks_wider_than_the_features():
    features = torch.randn(50, 3, 2, generator=generator())
    masked = SpecAugment(1, 100, 1, 100)(features, generator())
    assert masked.shape == features.shape
    assert torch.equal(SpecAugment(0, 5, 0, 5)(features, generator()), features)


# All of them


def test_the_generator_alone_decides(clips):
    for augmentation in all_of():
        torch.manual_seed(1)
        first = augmentation(clips, generator(5), RATE)
        before = torch.random.get_rng_state()
        torch.manual_seed(2)
        second = augmentation(clips, generator(5), RATE)
        assert torch.equal(first, second), type(augmentation).__name__
        assert not torch.equal(first, augmentation(clips, generator(6), RATE)), type(augmentation).__name__
        torch.manual_seed(1)
        assert torch.equal(before, torch.random.get_rng_state()), "the global generator was used"


def test_the_input_is_left_alone(clips):
    original = clips.clone()
    for augmentation in all_of():
        augmentation(clips, generator(), RATE)
        assert torch.equal(clips, original)
    features = torch.randn(5, 31, 40)
    original = features.clone()
    SpecAugment()(features, generator())
    assert torch.equal(features, original)


def test_shape_and_kind_are_kept():
    for clips in (torch.zeros(0, RATE), torch.full((1, 1), 0.5), 0.1 * torch.randn(3, 401)):
        for augmentation in all_of():
            changed = augmentation(clips, generator(), RATE)
            assert changed.shape == clips.shape
            assert changed.dtype == torch.float32
            assert changed.isfinite().all()
    assert SpecAugment()(torch.zeros(0, 31, 40), generator()).shape == (0, 31, 40)


@pytest.mark.parametrize("name", ["light", "noisy", "room"])
@pytest.mark.parametrize("rate", [8000, 16000])
def test_configurations(name, rate):
    with initialize_config_dir(str(CONFIGS), version_base="1.3"):
        config = compose("train", overrides=[f"augment={name}", f"data.sample_rate={rate}"])
    augment = instantiate(config.augment)
    augment.set_noise(noise_recordings())
    assert augment.active
    loud = 2 * torch.rand(16, rate, generator=generator()) - 1
    changed = augment.waveforms(loud, generator())
    assert changed.shape == loud.shape
    assert changed.abs().max() <= 1
    assert torch.equal(changed, augment.waveforms(loud, generator()))
    features = torch.randn(16, 31, 40, generator=generator())
    assert (augment.features(features, generator()) != features).any()


def test_nothing_to_do_is_nothing_done(clips):
    augment = Augment(RATE)
    assert not augment.active
    assert augment.waveforms(clips, generator()) is clips
    assert augment.features(clips, generator()) is clips


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: TimeShift(-1), "TimeShift.max_seconds=-1"),
        (lambda: Gain(3, 1), "Gain.low_db=3"),
        (lambda: BackgroundNoise(20, 0), "BackgroundNoise.low_snr_db=20"),
        (lambda: BackgroundNoise(probability=2), "BackgroundNoise.probability=2"),
        (lambda: SpeedPitch([]), "SpeedPitch.factors"),
        (lambda: SpeedPitch([0.1]), "SpeedPitch.factors"),
        (lambda: Reverberation(0.5, 0.2), "Reverberation.low_seconds=0.5"),
        (lambda: Reverberation(probability=-1), "Reverberation.probability=-1"),
        (lambda: Reverberation(delay=1.0), "Reverberation.delay=1.0"),
        (lambda: SpecAugment(time_masks=-1), "SpecAugment.time_masks=-1"),
        (lambda: SpecAugment(filter_masks=0.5), "SpecAugment.filter_masks=0.5"),
        (lambda: SpecAugment(max_filters=1.5), "SpecAugment.max_filters=1.5"),
    ],
)
def test_settings_that_are_refused(make, message):
    with pytest.raises(KwsError, match=message):
        make()


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")
@pytest.mark.parametrize("where", ["cpu", "cuda"])
def test_on_a_gpu(clips, where):
    augment = Augment(RATE, all_of(), [SpecAugment()])
    first, second = (augment.waveforms(clips.cuda(), torch.Generator(where).manual_seed(3)) for _ in range(2))
    assert first.device.type == "cuda"
    torch.testing.assert_close(first, second)
    if where == "cpu":  # the same draws as on the CPU
        torch.testing.assert_close(first.cpu(), augment.waveforms(clips, generator(3)), atol=1e-4, rtol=1e-3)
    features = torch.randn(8, 31, 40, device="cuda")
    assert augment.features(features, torch.Generator(where)).device.type == "cuda"
