"""The steps of the featurizer and of the detector in C."""

import numpy as np

from kws.native.parts import Part, Value, number, translates
from kws.program import steps


@translates(steps.Clean)
def clean(step: steps.Clean, source: Value) -> Part:
    """c/clean.c."""
    call = "clean({source}, count, &state->repaired, &state->clipped);"
    return Part(("clean.c",), call, "NaN and infinite samples to 0, the others into [-1, 1]", arrives=True)


@translates(steps.PreEmphasis)
def pre_emphasis(step: steps.PreEmphasis, source: Value) -> Part:
    """c/pre_emphasis.c."""
    call = f"pre_emphasis({{source}}, count, {number(step.factor)}, {{previous}});"
    about = f"y[t] = x[t] - {step.factor:g} x[t-1]"
    return Part(("pre_emphasis.c",), call, about, states={"previous": 1}, arrives=True)


@translates(steps.Window)
def window(step: steps.Window, source: Value) -> Part:
    """c/window.h; the scale of the samples is multiplied into the weights."""
    tables = {} if step.weights is None else {"weights": step.weights * np.float32(step.scale)}
    weights = "{weights}" if tables else "NULL"
    call = f"weigh({{out}}, {{source}}, {step.window_size}, {weights}, {number(step.scale)});"
    return Part(("window.h",), call, f"the last {step.window_size} samples", tables)


@translates(steps.Spectrum)
def spectrum(step: steps.Spectrum, source: Value) -> Part:
    """c/fft.c, or c/dft.c where the size is no power of two; then c/magnitude.c or c/power.c."""
    points, bins = step.fft_size, step.fft_size // 2 + 1
    turn = 2 * np.pi * np.arange(points) / points
    tables = {"sine": np.sin(turn).astype(np.float32)}
    if points > 1 and points & (points - 1) == 0:
        files = ["fft.c"]
        call = f"squared_spectrum({{out}}, {{source}}, {source.size}, {points}, {{sine}}, {{work}});\n"
    else:
        files = ["dft.c"]
        tables["cosine"] = np.cos(turn).astype(np.float32)
        call = f"squared_bins({{out}}, {{source}}, {source.size}, {points}, {{sine}}, {{cosine}});\n"
    if step.power:
        call += f"power({{out}}, {bins}, {number(1 / points)});"
    else:
        call += f"magnitude({{out}}, {bins});"
    fast = files == ["fft.c"]
    return Part(
        (*files, "power.c" if step.power else "magnitude.c"),
        call,
        f"{'power' if step.power else 'magnitudes'} of a Fourier transform of {points} points",
        tables,
        work=points if fast else 0,
        room=points if fast else 0,
        spoils=fast,
    )


@translates(steps.Filterbank)
def filterbank(step: steps.Filterbank, source: Value) -> Part:
    """c/filterbank.c, which skips the bins that have no weight."""
    starts, counts, weights = [], [], []
    for column in step.weights.T:  # of one filter
        (bins,) = np.nonzero(column)
        start, end = (bins[0], bins[-1] + 1) if len(bins) else (0, 0)
        starts.append(start)
        counts.append(end - start)
        weights.append(column[start:end])
    tables = {
        "starts": np.array(starts, np.uint16),
        "counts": np.array(counts, np.uint16),
        "weights": np.concatenate(weights) if sum(counts) else np.zeros(1, np.float32),
    }
    call = f"filterbank({{out}}, {step.weights.shape[1]}, {{source}}, {{starts}}, {{counts}}, {{weights}});"
    return Part(("filterbank.c",), call, f"{step.weights.shape[1]} {step.kind} filters", tables)


@translates(steps.Logarithm)
def logarithm(step: steps.Logarithm, source: Value) -> Part:
    """c/logarithms.c."""
    call = f"logarithms({{out}}, {{source}}, {source.size}, {number(step.delta)});"
    return Part(("logarithms.c",), call, f"ln(x + {step.delta:g})", over=True)


@translates(steps.Cosines)
def cosines(step: steps.Cosines, source: Value) -> Part:
    """c/cosines.c."""
    filters, coefficients = step.weights.shape
    call = f"cosines({{out}}, {coefficients}, {{source}}, {filters}, {{weights}});"
    return Part(("cosines.c",), call, f"cosine transform to {coefficients} numbers", {"weights": step.weights})


@translates(steps.Detector)
def detector(step: steps.Detector, source: Value) -> Part:
    """c/detector.c; its state has a place of its own in kws_state."""
    call = (
        "state->voice = detect(&state->detector, &state->settings.detector, {source}, {weights}, "
        f"{number(step.settings['frame_duration'])}, {number(step.initial_noise_floor)});"
    )
    return Part(("detector.c",), call, "is somebody speaking?", {"weights": step.weights})


@translates(steps.Reset)
def reset(step: steps.Reset, source: Value) -> Part:
    """Where speech ends the network forgets."""
    return Part((), "if (state->detector.fell) {{\n    forget(state);\n}}", "where speech ends the network forgets")
