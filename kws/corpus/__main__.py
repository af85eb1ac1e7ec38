"""python -m kws.corpus ROOT: what is in a folder of recordings or in manifests, before anyone trains on it."""

import argparse
from pathlib import Path

from rich.console import Console

from kws.corpus.folder import FolderCorpus
from kws.corpus.manifest import ManifestCorpus
from kws.corpus.mswc import MswcCorpus
from kws.support.command import run
from kws.support.errors import KwsError
from kws.support.progress import available_cores, bar


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m kws.corpus", description=__doc__)
    parser.add_argument("root", nargs="+", help="folder with one folder of recordings per word; or manifests")
    parser.add_argument("--languages", help="ROOT is Multilingual Spoken Words; some of it, en,de, or all")
    parser.add_argument("--words", help="keywords, separated by commas; without it every word")
    parser.add_argument("--lists", help="folder with validation_list.txt and testing_list.txt; without it the root")
    parser.add_argument("--output", help="where to write corpus.json and corpus.png; without it outputs/corpus/<name>")
    parser.add_argument("--workers", type=int, help="threads that decode; without it one per core")
    arguments = parser.parse_args()
    if arguments.workers is not None and arguments.workers < 1:
        raise KwsError(f"--workers is {arguments.workers}; give at least 1")
    words = [word.strip() for word in arguments.words.split(",")] if arguments.words else None
    options = {"words": words, "lists": arguments.lists, "required_splits": ()}
    if arguments.languages:
        languages = None if arguments.languages == "all" else arguments.languages.split(",")
        source = MswcCorpus(_one(arguments.root), languages, **options)
    elif Path(arguments.root[0]).is_dir():
        source = FolderCorpus(_one(arguments.root), **options)
    else:
        source = ManifestCorpus(arguments.root, **options)
    corpus = source.scan()

    from kws.corpus.report import print_report, write_report  # matplotlib takes a while; errors above come at once
    from kws.corpus.survey import survey

    with bar("listening", len(corpus.clips), progress=True) as advance:
        found = survey(corpus, arguments.workers or available_cores(), advance)
    print_report(found, Console())
    for path in write_report(found, arguments.output or Path("outputs") / "corpus" / corpus.name):
        print(path)
    return 0


def _one(roots: list[str]) -> str:
    if len(roots) > 1:
        raise KwsError(f"{len(roots)} folders are named; name one, or manifests")
    return roots[0]


if __name__ == "__main__":
    run(main)
