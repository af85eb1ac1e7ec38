"""The microphone, through miniaudio (`pip install 'kws[listen]'`), which brings its own drivers."""

import queue
from collections.abc import Iterator
from typing import Any

import numpy as np

from kws.support.errors import KwsError

MILLISECONDS = 50
NOTHING = "Discard all samples"  # how miniaudio's device of last resort begins, which hears silence


def library() -> Any:
    """The package miniaudio.

    Raises:
        KwsError: it is not installed.
    """
    try:
        import miniaudio
    except ImportError as error:
        raise KwsError("the microphone needs the package miniaudio; pip install 'kws[listen]'.") from error
    return miniaudio


def devices() -> list[dict[str, Any]]:
    """What can be recorded from: ``name`` and miniaudio's ``id``, in its order."""
    found = library().Devices().get_captures()
    return [device for device in found if not device["name"].startswith(NOTHING)]


def choose(name: str | None) -> Any:
    """The id of the device that a number or part of a name means; None is the system's own choice.

    Raises:
        KwsError: there is no sound card, or none of that name.
    """
    found = devices()
    if not found:
        raise KwsError("there is no sound card to record from; hand in a file, or raw samples on standard input (-).")
    if name is None:
        return None
    if name.isdigit() and int(name) < len(found):
        return found[int(name)]["id"]
    chosen = [device for device in found if name.lower() in device["name"].lower()]
    if len(chosen) != 1:
        names = ", ".join(f"{i} {device['name']}" for i, device in enumerate(found))
        raise KwsError(f"--device {name} means {len(chosen)} of the devices; there are: {names}.")
    return chosen[0]["id"]


def record(rate: int, device: str | None = None) -> Iterator[np.ndarray]:
    """Blocks (S,) int16 at `rate` Hz, as they come; it ends when its consumer does.

    Raises:
        KwsError: no library, no sound card, or one that cannot be opened.
    """
    miniaudio = library()
    chosen = choose(device)
    blocks: queue.SimpleQueue[bytes] = queue.SimpleQueue()

    def receive() -> Iterator[None]:
        while True:
            blocks.put(bytes((yield)))

    receiver = receive()
    next(receiver)
    try:
        capture = miniaudio.CaptureDevice(
            input_format=miniaudio.SampleFormat.SIGNED16,
            nchannels=1,
            sample_rate=rate,
            buffersize_msec=MILLISECONDS,
            device_id=chosen,
            app_name="kws",
        )
    except miniaudio.MiniaudioError as error:
        raise KwsError(
            f"the microphone cannot be opened ({error}); python -m kws.listen --devices lists them."
        ) from None
    with capture:
        capture.start(receiver)
        while True:
            yield np.frombuffer(blocks.get(), "<i2")
