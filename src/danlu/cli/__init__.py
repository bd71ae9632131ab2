"""The command line."""

from danlu.cli.app import app, main

__all__ = ["app", "main"]
