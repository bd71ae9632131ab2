"""A form as a browser sends it: files, or a value for each field."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from pathlib import PurePath
from typing import Any

from fastapi import HTTPException, Request
from starlette.datastructures import UploadFile

from danlu.data.fields import Field
from danlu.serve.bodies import FILES, File

__all__ = ["form_of"]

_ENDINGS = {ending: ending for ending in FILES.values()}


async def form_of(request: Request, fields: Sequence[Field]) -> list[Any] | File:
    """The records of a form, or the table that was given with it.

    Raises:
        HTTPException: 400, no form; 415, files that this model does not take.
    """
    async with request.form(max_files=100, max_fields=1000) as form:
        pairs = form.multi_items()
        files = [(name, value) for name, value in pairs if isinstance(value, UploadFile)]
        values = {name: value for name, value in pairs if isinstance(value, str)}
        single = fields[0] if len(fields) == 1 else None
        if files and single is not None and single.kind in ("image", "sound"):
            return [{single.name: base64.b64encode(await each.read()).decode()} for _, each in files]
        if not files:
            return [{name: None if value == "" else value for name, value in values.items()}]
        ending = PurePath(files[0][1].filename or "").suffix.lower()
        if len(files) > 1 or ending not in _ENDINGS or any(field.kind in ("image", "sound") for field in fields):
            raise HTTPException(
                415,
                f"the form has {len(files)} files, the first a {ending or 'file without an ending'}; expected one of {', '.join(_ENDINGS)}",
            )
        return File(ending, await files[0][1].read())
