"""A page on this machine that listens: `python -m kws.view [RUN]`."""
