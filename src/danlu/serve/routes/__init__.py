"""The routes of a service, a module for each kind; each has ``routes(service) -> APIRouter``."""

from danlu.serve.routes import agent, docs, drift, explain, generate, health, page, predict, protocol, sample

__all__ = ["ROUTES"]

ROUTES = tuple(each.routes for each in (predict, explain, generate, sample, agent, protocol, health, drift, docs, page))
"""Each makes an ``APIRouter`` for a service."""
