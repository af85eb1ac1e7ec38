"""Spotters in C: sources that anybody can read, compiled and loaded where there is a compiler."""

from kws.native.library import CModel
from kws.native.sources import sources

__all__ = ["CModel", "sources"]
