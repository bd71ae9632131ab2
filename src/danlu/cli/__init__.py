"""The command line."""

from danlu.cli.entry import main

__all__ = ["main"]
