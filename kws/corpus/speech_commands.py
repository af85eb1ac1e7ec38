"""Google Speech Commands as published: downloaded once, then a folder like any other.

Pete Warden, "Speech Commands: A Dataset for Limited-Vocabulary Speech Recognition" (2018); CC BY 4.0.
"""

import os
import shutil
from collections.abc import Sequence
from pathlib import Path

from kws.corpus.base import Corpus
from kws.corpus.folder import FolderCorpus
from kws.support.download import download, sha256_of
from kws.support.errors import KwsError
from kws.support.locking import lock
from kws.support.unpack import unpack

# Address and SHA-256 as torchaudio.datasets.SPEECHCOMMANDS has them (a test compares the two).
VERSIONS = {
    "v0.01": (
        "http://download.tensorflow.org/data/speech_commands_v0.01.tar.gz",
        "743935421bb51cccdb6bdd152e04c5c70274e935c82119ad7faeec31780d811d",
    ),
    "v0.02": (
        "http://download.tensorflow.org/data/speech_commands_v0.02.tar.gz",
        "af14739ee7dc311471de98f5f9d2c9191b18aedfe957f4a6ff791c709868ff58",
    ),
}
# The ten keywords of the usual twelve-class task.
TEN_WORDS = ("yes", "no", "up", "down", "left", "right", "on", "off", "stop", "go")
ROOM = 2.7  # archive and unpacked clips, in sizes of the archive


class SpeechCommandsCorpus(FolderCorpus):
    """Speech Commands, `version` v0.01 (30 words, 64,727 clips) or v0.02 (35 words, 105,829 clips).

    root      where corpora are kept. The clips end up in `<root>/SpeechCommands/speech_commands_<version>`, where
              torchaudio's class looks for them too: a copy it has made is used, and it can use this one
    url, sha256   another place to get the archive from, and its checksum; None: as published
    timeout   seconds to wait for an answer of the server
    options   those of FolderCorpus

    `torchaudio.datasets.SPEECHCOMMANDS` itself is not called to download: it unpacks in place, takes a half unpacked
    folder and an unchecked archive for whole ones, follows links and `..` in archives, and waits for ever.
    """

    def __init__(
        self,
        root: str | os.PathLike,
        version: str = "v0.01",
        words: Sequence[str] | None = None,
        name: str | None = None,
        url: str | None = None,
        sha256: str | None = None,
        timeout: float = 30.0,
        progress: bool = True,
        **options,
    ):
        if version not in VERSIONS:
            raise KwsError(f"version is {version!r}; Speech Commands has {' and '.join(VERSIONS)}")
        published_url, published_sha256 = VERSIONS[version]
        self.url, self.sha256 = url or published_url, sha256 or published_sha256
        self.timeout, self.progress = timeout, progress
        self.store = Path(root)
        folder = f"speech_commands_{version}"
        super().__init__(self.store / "SpeechCommands" / folder, words, name or folder, **options)

    def prepare(self) -> None:
        """Download and unpack, unless that has been done. Interrupted, it goes on from where it was.

        An archive that lies in `root` already, under its published name, is taken instead of a download. Raises
        KwsError for all that `kws.support.download` and `kws.support.unpack` name.
        """
        if self.root.is_dir():
            self._check_unpacked()
            return
        try:
            self.root.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise KwsError(f"{self.store}: cannot be made ({error.strerror}); choose another root") from error
        with lock(self.store / f".{self.root.name}.lock") as held:
            if self.root.is_dir():  # another process was faster
                return
            if held:
                for leftover in self.root.parent.glob(f".{self.root.name}.*.tmp"):
                    shutil.rmtree(leftover, ignore_errors=True)
            brought = self.store / f"{self.root.name}.tar.gz"
            if brought.is_file():
                self._check_brought(brought)
                unpack(brought, self.root, self.progress)
                return
            # Under a name of its own, so that it is clear that nobody else has put it here and that it may go.
            archive = brought.with_name(f"{brought.name}.downloaded")
            if not archive.is_file():
                download(self.url, archive, self.sha256, self.timeout, self.progress, ROOM)
            unpack(archive, self.root, self.progress)
            archive.unlink()

    def _check_unpacked(self) -> None:
        """What torchaudio was interrupted in unpacking looks whole but for what it had not come to."""
        for split in ("validation", "testing"):
            if not (self.root / f"{split}_list.txt").is_file():
                raise KwsError(f"{self.root}: incomplete, without {split}_list.txt; remove the folder and run again")

    def _check_brought(self, archive: Path) -> None:
        if (found := sha256_of(archive)) != self.sha256.lower():
            raise KwsError(
                f"{archive}: not the published archive (its checksum is {found[:16]}…, not {self.sha256[:16]}…); "
                "remove it to have it downloaded, or correct sha256"
            )

    def scan(self) -> Corpus:
        """See FolderCorpus; `prepare` comes first."""
        if not self.root.is_dir():
            raise KwsError(f"{self.root}: not downloaded yet; call prepare() first")
        return super().scan()
