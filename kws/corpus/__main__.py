"""python -m kws.corpus ROOT: what is in a folder of recordings, before anyone trains on it."""

import argparse
from pathlib import Path

from rich.console import Console

from kws.corpus.folder import FolderCorpus
from kws.support.command import run
from kws.support.errors import KwsError
from kws.support.progress import available_cores, bar


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m kws.corpus", description=__doc__)
    parser.add_argument("root", help="folder with one folder of recordings per word")
    parser.add_argument("--words", help="keywords, separated by commas; without it every word")
    parser.add_argument("--lists", help="folder with validation_list.txt and testing_list.txt; without it the root")
    parser.add_argument("--output", help="where to write corpus.json and corpus.png; without it outputs/corpus/<name>")
    parser.add_argument("--workers", type=int, help="threads that decode; without it one per core")
    arguments = parser.parse_args()
    if arguments.workers is not None and arguments.workers < 1:
        raise KwsError(f"--workers is {arguments.workers}; give at least 1")
    words = [word.strip() for word in arguments.words.split(",")] if arguments.words else None
    corpus = FolderCorpus(arguments.root, words, lists=arguments.lists, required_splits=()).scan()

    from kws.corpus.report import print_report, write_report  # matplotlib takes a while; errors above come at once
    from kws.corpus.survey import survey

    with bar("listening", len(corpus.clips), progress=True) as advance:
        found = survey(corpus, arguments.workers or available_cores(), advance)
    print_report(found, Console())
    for path in write_report(found, arguments.output or Path("outputs") / "corpus" / corpus.name):
        print(path)
    return 0


if __name__ == "__main__":
    run(main)
