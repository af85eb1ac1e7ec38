"""From a run to ears: `python -m kws.listen RUN FILE…`, or a microphone, and one line a detection."""
