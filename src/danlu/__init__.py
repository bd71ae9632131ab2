"""danlu: model training without the alchemy."""

__version__ = "0.1.0"
