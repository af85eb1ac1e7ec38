"""What the first bytes of a recording say: its kind, and whether all of the audio is there that its header promises.

libsndfile reads a file that was cut as a shorter one without a word, and one whose length was never filled in as empty.
"""

import io
import os
import struct
from typing import BinaryIO, NamedTuple

# In the length field: written to a pipe, so that nobody knew.
OPEN = (0xFFFFFFFF, 0x7FFFFFFF, 0x7FFFF000, 0x80000000)
CHUNKS = {b"RIFF": "<", b"RIFX": ">", b"RF64": "<", b"BW64": "<", b"FORM": ">"}
"""Containers of chunks with a name and a length of four bytes each, and the order of the length's bytes."""
AUDIO = (b"data", b"SSND")
W64 = bytes.fromhex("726966662e91cf11a5d628db04c10000")
W64_DATA = bytes.fromhex("64617461f3acd3118cd100c04f8edb8a")
MOST_CHUNKS = 256  # real files have a handful

KINDS = (
    (4, b"ftyp", "an MPEG-4 file (.m4a, AAC or the like)"),
    (0, b"\x30\x26\xb2\x75\x8e\x66\xcf\x11", "a Windows Media file (.wma)"),
    (0, b"#!AMR", "an AMR file"),
    (0, b"#!SILK", "a SILK file"),
    (0, b"\x1a\x45\xdf\xa3", "a Matroska or WebM file"),
    (0, b"FLV", "a Flash video"),
    (0, b"ADIF", "an AAC file"),
    (0, b"\xff\xf1", "an AAC file"),
    (0, b"\xff\xf9", "an AAC file"),
    (0, b"MAC ", "a Monkey's Audio file"),
    (0, b"wvpk", "a WavPack file"),
    (0, b"MPCK", "a Musepack file"),
    (0, b"TTA1", "a True Audio file"),
    (0, b"MThd", "a MIDI file"),
    (0, b"PK\x03\x04", "a ZIP archive"),
    (0, b"\x1f\x8b", "a gzip archive"),
    (0, b"%PDF", "a PDF document"),
    (0, b"\x89PNG", "a picture"),
    (0, b"\xff\xd8\xff", "a picture"),
    (0, b"version https://git-lfs", "a Git LFS pointer, not the file it stands for"),
)
DECODABLE_ELSEWHERE = 12  # the first of them are audio, which other programs convert


class Audio(NamedTuple):
    """Where the audio of a file lies, as its header has it.

    Attributes:
        length_at: offset of the length's field, of four bytes; None where it is another.
        start: offset of the first byte.
        length: bytes promised; None where the header leaves it open.
        order: of the bytes in numbers, ``<`` or ``>``.
    """

    length_at: int | None
    start: int
    length: int | None
    order: str


def kind(head: bytes) -> str | None:
    """What a file that libsndfile cannot decode is, by its first 64 bytes, and what to do; None for who knows."""
    number = _number(head)
    if number is not None:
        todo = ", which libsndfile does not decode; pip install 'kws[formats]', or convert it to FLAC"
        return KINDS[number][2] + (todo if number < DECODABLE_ELSEWHERE else "")
    text = head.lstrip().lower()
    if text.startswith((b"<!doctype", b"<html", b"<?xml", b"{")):
        return "a text (a web page or the like) in the place of a recording"
    return None


def is_for_others(head: bytes) -> bool:
    """Whether a file with this beginning holds audio that libsndfile cannot decode, and others can."""
    number = _number(head)
    return number is not None and number < DECODABLE_ELSEWHERE


def _number(head: bytes) -> int | None:
    marks = ((number, at, mark) for number, (at, mark, _) in enumerate(KINDS))
    return next((number for number, at, mark in marks if head[at : at + len(mark)] == mark), None)


def is_mp3(head: bytes) -> bool:
    """Whether libsndfile hands a file with this beginning to its decoder of MP3, which writes to the terminal."""
    return head[:3] == b"ID3" or (len(head) > 1 and head[0] == 0xFF and head[1] & 0xE0 == 0xE0)


def find_audio(file: BinaryIO) -> Audio | None:
    """Where the audio of a WAV, RF64, AIFF, Wave64, AU or CAF file lies; None for others, and where there is none."""
    file.seek(0)
    head = file.read(40)
    if head[:4] in CHUNKS and head[8:12] in (b"WAVE", b"AIFF", b"AIFC"):
        return _chunks(file, CHUNKS[head[:4]])
    if head[:16] == W64:
        return _wave64(file)
    if head[:4] == b".snd" and len(head) >= 12:
        start, length = struct.unpack(">II", head[4:12])
        return Audio(8, start, None if length in OPEN else length, ">")
    if head[:4] == b"caff":
        return _caf(file)
    return None


def _chunks(file: BinaryIO, order: str) -> Audio | None:
    position, large = 12, None
    for _ in range(MOST_CHUNKS):
        file.seek(position)
        head = file.read(8)
        if len(head) < 8:
            return None
        name, length = struct.unpack(f"{order}4sI", head)
        if name == b"ds64" and len(sizes := file.read(16)) == 16:
            large = struct.unpack("<QQ", sizes)[1]
        if name in AUDIO:
            if large is not None and length in OPEN:
                return Audio(None, position + 8, large, order)
            return Audio(position + 4, position + 8, None if length in OPEN else length, order)
        position += 8 + length + length % 2
    return None


def _wave64(file: BinaryIO) -> Audio | None:
    position = 40
    for _ in range(MOST_CHUNKS):
        file.seek(position)
        head = file.read(24)
        if len(head) < 24:
            return None
        (length,) = struct.unpack("<Q", head[16:])  # its own 24 bytes are counted
        if head[:16] == W64_DATA:
            return Audio(None, position + 24, max(length - 24, 0), "<")
        position += max(length + -length % 8, 24)
    return None


def _caf(file: BinaryIO) -> Audio | None:
    position = 8
    for _ in range(MOST_CHUNKS):
        file.seek(position)
        head = file.read(12)
        if len(head) < 12:
            return None
        name, length = struct.unpack(">4sq", head)
        if name == b"data":
            return Audio(None, position + 12, None if length < 0 else length, ">")
        position += 12 + max(length, 0)
    return None


def missing_bytes(audio: Audio | None, size: int) -> int:
    """Bytes of audio that a file of `size` bytes should have and has not.

    0 where the header leaves the length open, and where it has counted itself in: then nothing is missing.
    """
    if audio is None or audio.length is None:
        return 0
    missing = audio.start + audio.length - size
    return 0 if missing in (audio.start, audio.start - 8) else max(missing, 0)


def filled_in(file: BinaryIO, audio: Audio | None, size: int) -> BinaryIO | None:
    """The file with the length of its audio, where the header of a WAV says 0 and audio follows; None elsewhere."""
    if audio is None or audio.length != 0 or audio.length_at is None or audio.start >= size:
        return None
    file.seek(0)
    if file.read(4) not in (b"RIFF", b"RIFX"):
        return None
    file.seek(audio.start)
    following = file.read(8)
    if len(following) == 8 and following[:4].strip().isalnum() and following[:4].isascii():
        length = struct.unpack(f"{audio.order}I", following[4:])[0]
        if audio.start + 8 + length <= size:  # another chunk: there is no audio indeed
            return None
    field = f"{audio.order}I"
    return _Patched(file, {4: struct.pack(field, size - 8), audio.length_at: struct.pack(field, size - audio.start)})


class _Patched(io.RawIOBase):
    """A file in which a few bytes are others."""

    def __init__(self, file: BinaryIO, patches: dict[int, bytes]):
        self.file, self.patches = file, patches
        self.file.seek(0)

    def close(self) -> None:
        self.file.close()
        super().close()

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        return self.file.seek(offset, whence)

    def tell(self) -> int:
        return self.file.tell()

    def readinto(self, buffer) -> int:
        start = self.file.tell()
        data = bytearray(self.file.read(len(buffer)))
        for at, patch in self.patches.items():
            for number, byte in enumerate(patch, start=at - start):
                if 0 <= number < len(data):
                    data[number] = byte
        buffer[: len(data)] = data
        return len(data)
