"""Archives: unpacked whole or not at all, and never outside their folder."""

import errno
import lzma
import sys
import tarfile
import zlib
from pathlib import Path, PurePosixPath

from rich.console import Console
from rich.progress import Progress

from kws.support.errors import KwsError
from kws.support.files import atomic_folder


def unpack(archive: Path, folder: Path, progress: bool = True) -> None:
    """Unpack a tar archive (plain, gzip, bzip2 or xz) into the new folder `folder`.

    Raises KwsError: no archive, a truncated or damaged one, no room on the disk, and any member that is not a plain
    file or folder below `folder`: absolute paths, `..`, links, devices. Nothing of such an archive stays.
    """
    try:
        with atomic_folder(folder) as temporary, archive.open("rb") as file, _bar(progress) as bar:
            line = bar.add_task(f"unpacking {archive.stem}", total=archive.stat().st_size)
            with tarfile.open(fileobj=file, mode="r:*") as tar:
                count = 0
                for member in tar:
                    _check(member, archive)
                    tar.extract(member, temporary, filter="data")
                    bar.update(line, completed=file.tell())
                    count += member.isfile()
            if not count:
                raise KwsError(f"{archive}: an archive without files; download it again")
    except (tarfile.FilterError, ValueError) as error:
        raise KwsError(f"{archive}: a member that must not be unpacked ({error}); get it from elsewhere") from error
    except (tarfile.TarError, EOFError, zlib.error, lzma.LZMAError) as error:
        raise KwsError(f"{archive}: truncated or damaged ({error}); remove it and download it again") from error
    except OSError as error:
        if error.errno == errno.ENOSPC:
            raise KwsError(f"{folder.parent}: the disk is full; make room and run again") from error
        if error.errno is None:  # gzip and bzip2 report damage this way
            raise KwsError(f"{archive}: damaged ({error}); remove it and download it again") from error
        raise KwsError(f"{archive}: cannot be unpacked to {folder} ({error.strerror}); check both") from error


def _check(member: tarfile.TarInfo, archive: Path) -> None:
    path = PurePosixPath(member.name)
    if not (member.isfile() or member.isdir()):
        kind = "a link" if member.issym() or member.islnk() else "no plain file"
        raise KwsError(f"{archive}: its member {member.name!r} is {kind}; such archives are refused, get another one")
    if path.is_absolute() or ".." in path.parts or "\\" in member.name or ":" in member.name:
        raise KwsError(f"{archive}: its member {member.name!r} leads out of the folder; do not trust this archive")


def _bar(progress: bool) -> Progress:
    return Progress(console=Console(stderr=True), transient=True, disable=not (progress and sys.stderr.isatty()))
