"""A trained model as a service over HTTP: JSON, CSV, pictures, recordings and texts in, the answers of ``danlu predict`` out."""

import importlib.util as _util

from danlu.errors import MissingExtraError as _MissingExtraError

for _name in ("fastapi", "uvicorn", "prometheus_client", "python_multipart"):
    if _util.find_spec(_name) is None:
        raise _MissingExtraError(f"danlu serve needs {_name}", hint='pip install "danlu[serve]"')

from danlu.serve.app import create_app  # noqa: E402
from danlu.serve.options import ServeOptions  # noqa: E402
from danlu.serve.service import Asked, Service  # noqa: E402

__all__ = ["Asked", "ServeOptions", "Service", "create_app"]
