"""Federated learning between processes: an owner of rows answers a server that never sees one."""

from danlu.federated.real.lesson import Lesson
from danlu.federated.real.local import Local
from danlu.federated.real.owner import Owner
from danlu.federated.real.server import Server

__all__ = ["Lesson", "Local", "Owner", "Server"]
