"""Errors that a user can act on."""


class KwsError(Exception):
    """A mistake in the input: one sentence that names the file, key or value, and the remedy.

    Scripts print the sentence and exit with status 1; set KWS_TRACEBACK=1 to see where it was raised.
    """


class BrokenRecording(KwsError):
    """A recording that cannot be used. ``path`` names it, ``reason`` says why."""

    def __init__(self, path, reason: str):
        self.path = str(path)
        self.reason = reason
        super().__init__(f"{self.path!r}: {reason}")


class Interrupted(KeyboardInterrupt):
    """Stopped from outside. ``status`` is what the process ends with: 130 after Ctrl-C, 143 after SIGTERM."""

    status = 130

    def __init__(self, status: int = status):
        self.status = status
        super().__init__()
