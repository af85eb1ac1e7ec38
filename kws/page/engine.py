"""The engine of the page: a spotter's C as WebAssembly, with everything in it that the page can change."""

from pathlib import Path

from kws.native import builds, compiler
from kws.native.folder import write_sources
from kws.program import Program
from kws.spotter import Spotter, VoiceActivityDetector

ENGINE = "kws_model.wasm"


def heard_by_the_page(spotter: Spotter) -> Spotter:
    """The same spotter with every label as a possible word, and with a detector.

    The engine's words and its detector are chosen when it is compiled, and the page switches them while it runs: it
    ignores a label by a threshold above 1, and a detector whose `level_threshold` is infinite never hears a voice,
    so that it never resets anything. A spotter without a detector gets one with ELL's parameters.
    """
    featurizer = spotter.featurizer
    settings = dict(spotter.decoder.settings)
    if isinstance(settings["threshold"], dict):
        settings["threshold"] = {label: settings["threshold"].get(label, 1.0) for label in spotter.labels}
    return Spotter(
        featurizer,
        spotter.classifier,
        spotter.labels,
        vad=spotter.vad or VoiceActivityDetector(featurizer.num_features, featurizer.hop_seconds),
        normalization=spotter.normalization,
        decoder={**settings, "ignored": []},
        about=spotter.about,
    ).eval()


def write_engine(spotter: Spotter, folder: Path, program: Program | None = None) -> Path:
    """Compile the engine into a folder.

    Args:
        spotter: one that `heard_by_the_page` gave.
        folder: where ``kws_model.wasm`` goes.
        program: what is computed of a hop; the spotter's own when None.

    Raises:
        KwsError: the network judges whole clips, or there is no compiler for WebAssembly.
    """
    with compiler.temporary_folder() as sources:
        write_sources(spotter, Path(sources), program)
        built = builds.build_library(Path(sources), compiler.WASM)
        path = folder / ENGINE
        path.write_bytes(built.read_bytes())
    return path
