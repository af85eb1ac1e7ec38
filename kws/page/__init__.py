"""The page that listens: its files, the engine that it runs, and what it is told of the spotter."""

from kws.page.engine import heard_by_the_page, write_engine
from kws.page.facts import facts
from kws.page.folder import FACTS, STATIC, static_files, write_page

__all__ = ["FACTS", "STATIC", "facts", "heard_by_the_page", "static_files", "write_engine", "write_page"]
