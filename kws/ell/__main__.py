"""``python -m kws.ell``: look at ELL's models, edit them, run them."""

import argparse
from pathlib import Path

import numpy as np

from kws.ell import archive, edit, graph, importer, interpreter, metadata
from kws.ell import nodes as n
from kws.ell.model import Model
from kws.support import command
from kws.support.errors import KwsError
from kws.support.files import atomic


def main(arguments: list[str] | None = None) -> None:
    options = parser().parse_args(arguments)
    options.run(options)


def parser() -> argparse.ArgumentParser:
    """The command line."""
    whole = argparse.ArgumentParser(prog="python -m kws.ell", description="Work with ELL's model files.")
    commands = whole.add_subparsers(required=True, metavar="COMMAND")

    add = commands.add_parser("add-vad", help="let a voice activity detector reset a recurrent classifier")
    add.add_argument("model", help="the classifier, an .ell file")
    add.add_argument("--output", help="where to write; default: the same file")
    add.add_argument("--sample-rate", type=int, help="Hz")
    add.add_argument("--window-size", type=int, help="samples between frames (the hop), as ELL's add_vad.py calls it")
    add.add_argument("--frame-duration", type=float, help="seconds between frames, in place of --window-size")
    for key, default in edit.ELL_DEFAULTS.items():
        add.add_argument(f"--{key.replace('_', '-')}", type=float, help=f"default of a new VAD: {default:g}")
    add.add_argument(
        "--placement",
        choices=edit.PLACEMENTS,
        default="raw",
        help="what a new VAD hears: features before normalisation (default), or after it as with ELL's own tool",
    )
    add.set_defaults(run=add_vad)

    show = commands.add_parser("print", help="list nodes, sizes and wiring")
    show.add_argument("model", help="an .ell file")
    show.set_defaults(run=print_model)

    take = commands.add_parser("import", help="make an .ell file of an ONNX classifier")
    take.add_argument("model", help="an .onnx file")
    take.add_argument("--output", help="where to write; default: the same name with .ell")
    take.set_defaults(run=import_onnx)

    draw = commands.add_parser("graph", help="draw the model")
    draw.add_argument("model", help="an .ell file")
    draw.add_argument("--output", help=".dot, .svg or .png; default: the same name with .svg")
    draw.set_defaults(run=draw_graph)

    compute = commands.add_parser("run", help="compute the model on frames, in NumPy")
    compute.add_argument("model", help="an .ell file")
    compute.add_argument("frames", help="a .npy file, (frames, inputs)")
    compute.add_argument("--output", required=True, help="a .npy file for (frames, outputs)")
    compute.add_argument("--semantics", choices=interpreter.SEMANTICS, default="compiled", help="on reset frames")
    compute.set_defaults(run=run_model)
    return whole


def add_vad(options: argparse.Namespace) -> None:
    model = archive.read(options.model)
    settings = {key: getattr(options, key) for key in edit.ELL_DEFAULTS if getattr(options, key) is not None}
    if options.sample_rate is not None:
        settings["sample_rate"] = options.sample_rate
    if options.frame_duration is not None:
        settings["frame_duration"] = options.frame_duration
    elif options.window_size is not None:
        rate = options.sample_rate or (model.vad.vad.sample_rate if model.vad else None)
        if not rate or rate < 0:
            raise KwsError("--window-size is in samples; say --sample-rate as well.")
        settings["frame_duration"] = options.window_size / rate
    if model.vad is None:
        if "sample_rate" not in settings or "frame_duration" not in settings:
            raise KwsError("A new VAD needs --sample-rate and --window-size (or --frame-duration).")
        settings = edit.ELL_DEFAULTS | settings
    verb = "changed" if model.vad is not None else "added"
    model = edit.add_vad(model, settings, options.placement)
    output = options.output or options.model
    archive.write(model, output)
    print(f"VAD {verb}; it resets {len(model.recurrent)} recurrent layer(s): {output}")


def print_model(options: argparse.Namespace) -> None:
    print("\n".join(describe(archive.read(options.model))))


def describe(model: Model) -> list[str]:
    """One line per node: id, type, name, size, what it listens to."""
    sizes = model.sizes()
    rows = [("id", "type", "name", "size", "listens to")]
    for node in model.nodes:
        wiring = ", ".join(f"{p.key}={source.removesuffix('.output')}" for _, p, source in node.ports())
        rows.append((node.id, node.TYPE, node.metadata.get("name", ""), str(sizes[node.id]), wiring))
    widths = [max(len(row[column]) for row in rows) for column in range(4)]
    lines = [
        "  ".join([*(cell.ljust(w) for cell, w in zip(row, widths, strict=False)), row[4]]).rstrip() for row in rows
    ]
    for node in model.of_type(n.VadNode):
        facts = (f"{p.key}={getattr(node.vad, name):.9g}" for name, p in node.vad.properties())
        lines.append(f"VAD {node.id}: " + ", ".join(facts))
    lines.append(f"input: {model.input_size} values; output: {model.output_size} values")
    if labels := metadata.labels(model):
        lines.append("labels: " + ", ".join(labels))
    lines += [f"{key}: {value}" for key, value in metadata.facts(model).items()]
    return lines


def import_onnx(options: argparse.Namespace) -> None:
    output = options.output or str(Path(options.model).with_suffix(".ell"))
    archive.write(importer.read(options.model), output)
    print(output)


def draw_graph(options: argparse.Namespace) -> None:
    output = options.output or str(Path(options.model).with_suffix(".svg"))
    graph.write(archive.read(options.model), output)
    print(output)


def run_model(options: argparse.Namespace) -> None:
    model = archive.read(options.model)
    try:
        frames = np.load(options.frames)
    except (OSError, ValueError) as error:
        raise KwsError(f"'{options.frames}' is no array that can be read: {error}.") from None
    with atomic(options.output) as temporary, temporary.open("wb") as file:
        np.save(file, interpreter.run(model, frames, options.semantics))
    print(options.output)


if __name__ == "__main__":
    command.run(main)
