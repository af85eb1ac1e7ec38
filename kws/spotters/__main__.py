"""python -m kws.spotters RUN: bundle a trained and evaluated run with the project, with a card of its figures."""

import argparse
import sys
from pathlib import Path

from kws.spotters import DEFAULT, FOLDER
from kws.spotters.bundle import bundle
from kws.spotters.card import SPEECH_COMMANDS
from kws.support.command import run


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(prog="python -m kws.spotters", description=__doc__)
    parser.add_argument("run", type=Path, help="the run directory; evaluate.py has judged it")
    parser.add_argument("--name", default=DEFAULT, help=f"of the folder; {DEFAULT} if left out")
    parser.add_argument("--folder", type=Path, default=FOLDER, help="where it goes; into the package if left out")
    parser.add_argument("--root", help="where the recordings are now; where the run found them if left out")
    parser.add_argument("--data", default=SPEECH_COMMANDS, help="a sentence on the recordings and their licence")
    options = parser.parse_args(sys.argv[1:])
    print(bundle(options.run, options.name, options.folder, options.root, options.data))


if __name__ == "__main__":
    run(main)
