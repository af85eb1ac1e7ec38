"""Archives: unpacked whole or not at all, and never outside their folder."""

import errno
import lzma
import shutil
import sys
import tarfile
import zlib
from pathlib import Path, PurePosixPath

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

from kws.support.errors import KwsError
from kws.support.files import atomic_folder

LARGEST_HEADER = 1 << 20  # bytes of a long name and the like, which tarfile reads into memory
CHUNK = 1 << 20


class StrictMember(tarfile.TarInfo):
    """A member before which everything was in order: tarfile takes a damaged header, and a cut file, for the end."""

    @classmethod
    def fromtarfile(cls, tarfile_: tarfile.TarFile) -> "StrictMember":
        """The next member; the end is two blocks of zeros, and nothing else."""
        try:
            return super().fromtarfile(tarfile_)
        except tarfile.EOFHeaderError:
            raise
        except tarfile.HeaderError as error:
            raise tarfile.ReadError(f"{error} at byte {tarfile_.offset}") from error

    def _proc_member(self, tarfile_: tarfile.TarFile) -> tarfile.TarInfo:
        if not (self.isfile() or self.isdir() or self.issym() or self.islnk()) and self.size > LARGEST_HEADER:
            raise tarfile.ReadError(f"a header of {self.size} bytes")
        return super()._proc_member(tarfile_)


def unpack(archive: Path, folder: Path, progress: bool = True) -> None:
    """Unpack a tar archive (plain, gzip, bzip2 or xz) into the new folder `folder`.

    Raises KwsError: no archive, a truncated or damaged one, no room on the disk, and any member that is not a plain
    file or folder below `folder`: absolute paths, `..`, links, devices. Nothing of such an archive stays.
    """
    try:
        with atomic_folder(folder) as temporary, archive.open("rb") as file, _bar(progress) as bar:
            line = bar.add_task(f"unpacking {archive.stem}", total=archive.stat().st_size)
            with tarfile.open(fileobj=file, mode="r:*", tarinfo=StrictMember) as tar:
                count, room = 0, shutil.disk_usage(temporary).free
                for member in tar:
                    _check(member, archive)
                    room -= member.size
                    if room < 0:
                        raise OSError(errno.ENOSPC, "no room")
                    tar.extract(member, temporary, filter="data")
                    bar.update(line, completed=file.tell())
                    count += member.isfile()
                while tar.fileobj.read(CHUNK):
                    pass  # the checksum of what was compressed comes last
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
    if member.issparse() or not (member.isfile() or member.isdir()):
        kind = "a link" if member.issym() or member.islnk() else "no plain file"
        raise KwsError(f"{archive}: its member {member.name!r} is {kind}; such archives are refused, get another one")
    if path.is_absolute() or ".." in path.parts or "\\" in member.name or ":" in member.name:
        raise KwsError(f"{archive}: its member {member.name!r} leads out of the folder; do not trust this archive")


def _bar(progress: bool) -> Progress:
    columns = (TextColumn("{task.description}", markup=False), BarColumn(), TaskProgressColumn(), TimeRemainingColumn())
    return Progress(
        *columns, console=Console(stderr=True), transient=True, disable=not (progress and sys.stderr.isatty())
    )
