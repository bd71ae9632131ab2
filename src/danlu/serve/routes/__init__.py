"""The routes of a service, a module for each kind; each has ``routes(service) -> APIRouter``."""

from danlu.serve.routes import health, predict

__all__ = ["ROUTES"]

ROUTES = (predict.routes, health.routes)
"""Each makes an ``APIRouter`` for a service."""
