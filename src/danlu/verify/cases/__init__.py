"""The cases, one file a kind of algorithm; each registers itself with :func:`danlu.verify.case`."""

__all__: list[str] = []
