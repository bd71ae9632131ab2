"""HTML pages in the reader's language."""

from __future__ import annotations

import html
import re
from collections.abc import Callable
from html.parser import HTMLParser

from danlu.language.catalogue import catalogue
from danlu.language.chosen import current

__all__ = ["page"]

_ATTRIBUTE = re.compile(r"(\s(?:title|alt|aria-label|placeholder)=)(\"[^\"]*\"|'[^']*')")
_KEPT = {"script", "style", "pre", "code", "kbd", "samp"}
_OPEN = {"meta", "link", "br", "hr", "img", "input", "use", "path", "wbr", "source", "col"}
_WHOLE = re.compile(r'<span class="whole">(.*?)</span>', re.DOTALL)
_NUMBER = re.compile(r"(?<![\w.])[−+-]?\d[\d.,:−-]*(?:e[+-]?\d+)?(?: ?%)?")


def page(text: str, language: str | None = None) -> str:
    """An HTML page (or a part of one) in a language; None is the current one.

    Texts and the attributes that are read out are translated; scripts, styles, code and elements with ``translate="no"``, which hold
    what is the user's, stay as they are.

    >>> page("<p>3 rows are missing</p>")  # in English it stays as it is
    '<p>3 rows are missing</p>'
    """
    language = language or current()
    if language == "en":
        return text
    reader = _Reader(catalogue(language).said)
    # Numbers that are kept whole, and soft breaks, are part of their sentence.
    reader.feed(_WHOLE.sub("\ue000\\1\ue001", text).replace("<wbr>", "\ue002"))
    reader.close()
    return "".join(reader.out).replace('<html lang="en"', f'<html lang="{language}"', 1)


class _Reader(HTMLParser):
    """Writes what it reads, with its texts translated."""

    def __init__(self, said: Callable[[str], str]) -> None:
        super().__init__(convert_charrefs=False)
        self._said = said
        self.out: list[str] = []
        self._text = ""
        self._kept: list[str] = []  # the elements that are open within one that is kept

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self._flush()
        written = self.get_starttag_text() or ""
        own = any(name == "translate" and value == "no" for name, value in attrs)
        if (self._kept or tag in _KEPT or own) and tag not in _OPEN and not written.endswith("/>"):
            self._kept.append(tag)
        if not self._kept and not own:
            written = _ATTRIBUTE.sub(self._spoken, written)
        self.out.append(_plain(written))

    def _spoken(self, found: re.Match[str]) -> str:
        """An attribute that is read out, translated."""
        return f'{found[1]}"{html.escape(self._said(html.unescape(found[2][1:-1])))}"'

    handle_startendtag = handle_starttag

    def handle_endtag(self, tag: str) -> None:
        self._flush()
        if tag in self._kept:
            while self._kept.pop() != tag:
                pass
        self.out.append(f"</{tag}>")

    def handle_data(self, data: str) -> None:
        self._text += data

    def handle_entityref(self, name: str) -> None:
        self._text += f"&{name};"

    def handle_charref(self, name: str) -> None:
        self._text += f"&#{name};"

    def handle_decl(self, decl: str) -> None:
        self._flush()
        self.out.append(f"<!{decl}>")

    def handle_comment(self, data: str) -> None:
        self._flush()
        self.out.append(f"<!--{data}-->")

    def close(self) -> None:
        super().close()
        self._flush()

    def _flush(self) -> None:
        """Write the text that has been read."""
        if not self._text:
            return
        text, self._text = self._text, ""
        if self._kept:
            self.out.append(_marked(text))
            return
        plain = _plain(html.unescape(text))
        blank = plain[: len(plain) - len(plain.lstrip())], plain[len(plain.rstrip()) :]
        core = plain.strip()
        new = self._said(core) if core else core
        if new == core:
            self.out.append(_marked(text))
            return
        written = html.escape(new, quote=False)
        if "\ue000" in text:
            written = _NUMBER.sub(lambda found: f'<span class="whole">{found[0]}</span>', written)
        self.out.append(blank[0] + written + blank[1])


def _plain(text: str) -> str:
    return re.sub("[\ue000-\ue002]", "", text)


def _marked(text: str) -> str:
    return text.replace("\ue000", '<span class="whole">').replace("\ue001", "</span>").replace("\ue002", "<wbr>")
