"""Sphinx's settings. ``make docs`` runs :mod:`build`, which lays the pages out first."""

from __future__ import annotations

import inspect
import re
import sys
from pathlib import Path
from typing import Any

from sphinx.addnodes import pending_xref
from sphinx.util import logging

sys.path.insert(0, str(Path(__file__).parent))

import names

import danlu

project = "danlu"
author = "the danlu maintainers"
version = release = danlu.__version__
extensions = ["sphinx.ext.autodoc", "sphinx.ext.napoleon", "myst_parser"]
root_doc = "README"
exclude_patterns: list[str] = []

html_theme = "furo"
html_title = "danlu"
html_copy_source = False
html_show_sphinx = False

myst_heading_anchors = 3
autodoc_inherit_docstrings = False  # a layer's `apply` is described once, where it is a layer's
autodoc_member_order = "bysource"
autodoc_typehints_format = "short"
autodoc_default_options = {"members": True, "show-inheritance": True}
napoleon_google_docstring = True
napoleon_numpy_docstring = False
napoleon_use_ivar = True  # a field stands in its class's list, not on a line of its own below it
napoleon_use_rtype = False
napoleon_custom_sections = ["Reference", "Shapes"]

nitpicky = True  # a name of ours has to lead somewhere

_log = logging.getLogger(__name__)


def resolve_roles(app: Any, what: str, name: str, owner: Any, options: Any, lines: list[str]) -> None:
    """Write each reference of a docstring with its full name in the reference; one that leads nowhere is a warning."""
    if what == "data" and inspect.getdoc(owner) == inspect.getdoc(type(owner)):
        lines.clear()
        return
    if what == "property":
        owner = getattr(owner, "fget", None) or owner.func  # a cached one has it by another name
    owner = inspect.unwrap(getattr(owner, "__func__", owner)) if not inspect.isclass(owner) else owner
    module = owner.__name__ if inspect.ismodule(owner) else getattr(owner, "__module__", None)
    if not str(module).startswith("danlu"):
        lines.clear()  # a number's or a dict's own words; what another library added to a class
        return

    def full(found: Any) -> str:
        _role, short, target = found.groups()
        try:
            place = names.resolve(target, owner, module)
        except LookupError as error:
            _log.warning("%s: %s: %s", name, found.group(0), error)
            return f"``{target}``"
        text = target.rpartition(".")[2] if short else target
        return f":py:obj:`{text} <{place}>`"

    text = names.ROLE.sub(full, "\n".join(lines))
    text = _STARRED.sub(r"\1\\*\\*\2:", text)
    lines[:] = _LED.sub(_paragraph, text).split("\n")


_STARRED = re.compile(r"^( +\w[\w, ]*, )\*\*(\w+):", re.MULTILINE)
_LEAD = r"(?:Params|State|Carry|Reference|Input|Output): "
_LED = re.compile(rf"^({_LEAD})(.*(?:\n(?!{_LEAD}) *\S.*)*)", re.MULTILINE)


def _paragraph(found: re.Match[str]) -> str:
    """``Params: …`` with its further lines indented, as a paragraph: to reStructuredText it is a term and its definition."""
    words = " ".join(line.strip() for line in found.group(2).split("\n"))
    return f"\n**{found.group(1).strip()}** {words}\n"


def only_ours(app: Any, doctree: Any) -> None:
    """A type of another library is its text alone: Sphinx would lead ``bytes`` to any attribute of that name."""
    for node in list(doctree.findall(pending_xref)):
        if node.get("refdomain") == "py" and not node.get("reftarget", "").startswith("danlu"):
            node.replace_self(node.children)


def resolve_annotation(app: Any, env: Any, node: Any, content: Any) -> Any:
    """A type in a signature, written where it is defined: the link goes to where the reference has it."""
    target = node.get("reftarget", "")
    if node.get("refdomain") != "py" or not target.startswith("danlu."):
        return None
    try:
        place = names.resolve(target, danlu, "danlu")
    except LookupError:
        return content  # private: the text alone
    if place == target:
        return None
    domain = env.domains.python_domain
    return domain.resolve_xref(env, node["refdoc"], app.builder, "obj", place, node, content)


def setup(app: Any) -> None:
    app.connect("autodoc-process-docstring", resolve_roles, priority=400)  # before napoleon
    app.connect("doctree-read", only_ours)
    app.connect("missing-reference", resolve_annotation)
