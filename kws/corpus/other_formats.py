"""Recordings that libsndfile cannot decode: AAC in .m4a, WMA, AMR …, through PyAV where that is installed.

PyAV (`pip install 'kws[formats]'`) brings FFmpeg's decoders. It is given the bytes of a file whose kind is known, never
its name: FFmpeg would follow a playlist to other files and hosts.
"""

import io
from contextlib import ExitStack
from typing import BinaryIO

import soundfile

MOST = 1 << 25  # numbers, all channels together


def decode(file: BinaryIO) -> io.BytesIO | None:
    """The audio in `file` as a WAV of floats; None without PyAV.

    Raises:
        ValueError: it cannot be decoded, has no audio, or more than `MOST` numbers of it.
    """
    try:
        import av
    except ImportError:
        return None
    file.seek(0)
    wav, count, out, resampler = io.BytesIO(), 0, None, None
    try:
        with ExitStack() as stack:
            container = stack.enter_context(av.open(file, mode="r"))
            for frame in container.decode(audio=0) if container.streams.audio else ():
                if out is None:  # the header of AAC alone does not say what the frames are
                    channels = frame.layout.nb_channels
                    sound = soundfile.SoundFile(wav, "w", frame.sample_rate, channels, "FLOAT", format="WAV")
                    out = stack.enter_context(sound)
                    resampler = av.AudioResampler(format="flt", layout=frame.layout, rate=frame.sample_rate)
                for piece in resampler.resample(frame):
                    block = piece.to_ndarray().reshape(-1, channels)
                    count += block.size
                    if count > MOST:
                        raise ValueError(f"more than {MOST // channels} samples")
                    out.write(block)
    except (av.FFmpegError, soundfile.LibsndfileError) as error:
        raise ValueError(f"it cannot be decoded ({' '.join(str(error).split())[:100]})") from error
    if out is None:
        raise ValueError("it holds no audio")
    wav.seek(0)
    return wav
