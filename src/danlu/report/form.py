"""A page that asks a model: its form is made from the schema.

One piece for all pages of that kind: what a page has to know of a model (:func:`about`), and its parts in ``templates/``: ``form.js`` (the
fields, and the record that they hold), ``pictures.js`` (a picture that is dropped or drawn), ``answer.js`` (the answer and what it is made
of), ``form.css.jinja``, and the words that the scripts say (``words.html.jinja``), which are translated as the rest of a page is.
Columns, categories and texts are the user's: the scripts write them as text, never as HTML.
"""

from __future__ import annotations

import base64
import functools
import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from danlu.data.fields import fields_json
from danlu.evaluate import MEASURES, PRIMARY
from danlu.evaluate.intervals import figure
from danlu.report.html import rendered
from danlu.rl.games.match import Match
from danlu.trained import Trained

__all__ = ["FORM_SCRIPTS", "about", "as_script_data", "asking_page", "door_page", "heading", "scripts", "style"]

FORM_SCRIPTS = ("form.js", "pictures.js", "answer.js")
"""The scripts that every such page needs, in this order."""

_PAGE, _AGENT = (*FORM_SCRIPTS, "served.js"), ("agent.js",)


def about(trained: Trained) -> dict[str, Any]:
    """What a page has to know of a model, as plain data.

    Returns:
        ``heading``, ``purpose``, ``task``, ``kind``, ``target``, ``fields`` (as :func:`~danlu.data.fields.fields_json` gives them), and
        where there are any: ``classes``, ``size`` of a picture (width, height), ``extent`` of a quantity, ``level`` of intervals or sets,
        ``score``, ``trained_on``.

    Example:
        >>> import tempfile, danlu
        >>> rows = {"x": [float(i) for i in range(60)], "y": ["low", "high"] * 30}
        >>> model = danlu.train(rows, target="y", runs=tempfile.mkdtemp(), display="none", say=lambda line: None,
        ...                     model={"kind": "network", "members": 2, "width": 8}, trainer={"epochs": 1}).model
        >>> told = about(model)
        >>> told["heading"], told["classes"], [field["name"] for field in told["fields"]]
        ('Predicting y', ['high', 'low'], ['x'])
    """
    head, encoder = trained.head, trained.encoder
    target = getattr(head, "target", None)
    found: dict[str, Any] = {
        "heading": heading(trained),
        "purpose": trained.purpose,
        "task": trained.task,
        "kind": trained.kind,
        "target": _target(trained),
        "fields": fields_json(trained.fields),
        "classes": list(getattr(target, "classes", ()) or getattr(head, "classes", ()) or getattr(head, "labels", ())),
    }
    if trained.kind != "table" and getattr(encoder, "height", None):
        found["size"] = [int(encoder.width), int(encoder.height)]
    if trained.task == "regression" and target is not None:
        found["extent"] = [target.mean - 3 * target.std, target.mean + 3 * target.std]
    found |= _score(trained)
    if getattr(head, "scores", None) is not None:
        found["level"] = head.level
    rows = trained.provenance.get("rows")
    if isinstance(rows, Mapping) and rows.get("train"):
        found["trained_on"] = int(rows["train"])
    return {name: value for name, value in found.items() if value not in ("", [], None)}


def heading(trained: Trained) -> str:
    """What the page is called."""
    if trained.task == "agent":
        env = trained.head.env
        return f"Playing {env.id}" if isinstance(env, Match) else f"Deciding what to do in {env.id}"
    target = _target(trained)
    return f"Predicting {target}" if target else f"A model for {trained.purpose}"


def _target(trained: Trained) -> str:
    """What it predicts, by its name in the data; several of a forecast."""
    return trained.head.name or ", ".join(getattr(getattr(trained.encoder, "columns", None), "targets", ()))


def _score(trained: Trained) -> dict[str, str]:
    """The measure that models of its kind are compared by, where it was tested."""
    name = PRIMARY.get(trained.task, "")
    value = trained.metrics.get(name)
    return {"score": f"{MEASURES[name].label} {figure(value)}"} if isinstance(value, float) else {}


def scripts(names: Sequence[str] = FORM_SCRIPTS) -> str:
    """Some of the scripts of ``templates/``, one after the other, as one script."""
    folder = Path(__file__).parent / "templates"
    return "\n".join((folder / name).read_text(encoding="utf-8") for name in names)


def as_script_data(data: Any) -> str:
    """Plain data for ``<script type="application/json">``: nothing in it can end the element.

    >>> as_script_data({"name": "</script><b>"})
    '{"name": "\\\\u003c/script\\\\u003e\\\\u003cb\\\\u003e"}'
    """
    text = json.dumps(data, ensure_ascii=False, allow_nan=False)
    for letter in "<>&\u2028\u2029":
        text = text.replace(letter, f"\\u{ord(letter):04x}")
    return text


def asking_page(
    told: Mapping[str, Any],
    paths: Mapping[str, str],
    *,
    language: str = "en",
    models: Sequence[tuple[str, str]] = (),
    model: str = "",
    address: str = "",
) -> tuple[str, str]:
    """The page of a service that asks one of its models.

    Args:
        told: what :func:`about` says of the model, and where there are any: ``explains`` and ``changes`` (whether it can be asked why, and
            what would change the answer), ``game`` (``rows``, ``columns`` and ``moves`` of a board), ``watch`` (whether there is a film).
        paths: where the page asks: ``predict``, ``explain``, ``play``, ``watch``.
        models: the names of all models, each with the address of its page.
        model: the name of this one.
        address: of this page with its query, to which the language is added.

    Returns:
        The HTML, and the ``Content-Security-Policy`` to be sent with it: it runs its own script, and asks its own service, alone.
    """
    code = scripts((*_PAGE, *(_AGENT if told.get("game") or told.get("watch") else ())))
    known = {"explains": False, "changes": False, "game": None, "watch": False, "score": "", "trained_on": 0, **told}
    with_query = f"{address}{'&' if '?' in address else '?'}lang="
    text = rendered(
        "served.html.jinja",
        language=language,
        about=known,
        data=as_script_data({**known, "paths": dict(paths)}),
        code=code,
        style=style(),
        english=f"{with_query}en",
        chinese=f"{with_query}zh",
        models=models,
        model=model,
    )
    return text, _policy(code)


def door_page(*, language: str = "en") -> tuple[str, str]:
    """The page of a service that asks for a token before it shows anything of a model, and its policy.

    With the token it takes in the page of :func:`asking_page`, whose scripts its policy allows therefore.
    """
    code = scripts(("door.js",))
    text = rendered("door.html.jinja", language=language, code=code, style=style())
    return text, _policy(code, scripts(_PAGE), scripts((*_PAGE, *_AGENT)))


def _policy(*codes: str) -> str:
    """A ``Content-Security-Policy`` by which a page runs these scripts and asks its own service alone."""

    def digests(texts: Sequence[str]) -> str:
        return " ".join(
            f"'sha256-{base64.b64encode(hashlib.sha256(each.encode()).digest()).decode()}'" for each in texts
        )

    policy = {
        "default-src": "'none'",
        "script-src": digests(codes),
        "style-src": digests([style()]),
        "connect-src": "'self'",
        "img-src": "data:",
        "media-src": "blob:",
        **dict.fromkeys(("form-action", "base-uri", "frame-ancestors"), "'none'"),
    }
    return "; ".join(map(" ".join, policy.items()))


@functools.cache
def style() -> str:
    """The style sheet of every such page."""
    folder = Path(__file__).parent / "templates"
    return "\n".join((folder / name).read_text(encoding="utf-8") for name in ("style.css.jinja", "form.css.jinja"))
