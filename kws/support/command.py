"""What every ``python -m kws.…`` command does around its own work."""

import os
import sys
from collections.abc import Callable

from kws.support.errors import KwsError


def run(main: Callable[[], int | None]) -> None:
    """Call `main` and leave the process with its status.

    A `KwsError` becomes one sentence on stderr and status 1; KWS_TRACEBACK=1 shows where it was raised. A reader
    that closed the pipe early (``… | head``) ends the command quietly.
    """
    try:
        status = main() or 0
        sys.stdout.flush()
    except KwsError as error:
        if os.environ.get("KWS_TRACEBACK") == "1":
            raise
        print(f"{error}", file=sys.stderr)
        status = 1
    except BrokenPipeError:
        # Python flushes stdout once more at exit; give it somewhere to go.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        status = 1
    except KeyboardInterrupt:
        print("Interrupted.", file=sys.stderr)
        status = 130
    sys.exit(status)
