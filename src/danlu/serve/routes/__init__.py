"""The routes of a service, a module for each kind; each has ``routes(service) -> APIRouter``."""

from danlu.serve.routes import agent, explain, health, page, predict

__all__ = ["ROUTES"]

ROUTES = (predict.routes, explain.routes, agent.routes, health.routes, page.routes)
"""Each makes an ``APIRouter`` for a service."""
