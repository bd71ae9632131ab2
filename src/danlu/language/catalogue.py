"""Messages found again by the form that they were made with, and said in another language.

A *form* is an f-string's text with numbers for its values: ``"{0} rows are too few for {1} folds"``. A value that is one of a few
fixed words lists them, ``"{0} row{1:s|}"``; a translation gives its own words in the same order, or leaves them out: ``"{0} 行"``.

A message may be put together from several forms. It is matched whole first; a value that is itself made of words is translated in
the same way; and what does not match whole is cut at its punctuation, and the longest pieces that match are taken. What is in no
catalogue, such as the names of the user's columns, stays as it is.
"""

from __future__ import annotations

import dataclasses
import functools
import re
from collections.abc import Iterable, Mapping
from pathlib import Path

from danlu.language.chosen import current
from danlu.language.kept import kept

__all__ = ["Catalogue", "Form", "key", "said"]

_VALUE = re.compile(r"\{(\d+)(?::([^{}]*))?\}")
_EDGE = " \t\n,;:.()"
_WORD = re.compile(r"(?<![\w'\"`./=<>-])[a-z]{3,}(?![\w'\"`/=<>])")
_LETTERS = re.compile("[A-Za-z]{2,}")
_CUT = re.compile(
    r"(\n+(?: *- )?| {2,}(?:→ )?|(?<=[.!?]) +|[;:,] +| · | → | › |  ?\(|\) \(|\)(?: (?! )|$)|(?<=\w)\.(?=$|\n))"
)
_CLOSED = r"(?:[^()]|\((?:[^()]|\([^()]*\))*\))*?"  # a value that closes the parentheses that it opens
_BEGINS = (r"(?= ?\(|[,;:\[])", r"(?= )")  # of the second of two values side by side
_IS_CLOSED = re.compile(_CLOSED)
_NEXT = re.compile(r"[;.] |\n")  # between two messages
_LABEL = re.compile(r"[A-Za-z]+: ")  # before a message
_QUOTED = re.compile(r"'[^']*'|\"[^\"]*\"")
_CELLS = re.compile(r" {2}|\n *\n| · ")  # between the cells of a table, two paragraphs or the parts of a line
_PHRASE = re.compile(r"(?<![\w'\"`./=<>-])[A-Za-z]?[a-z]+ [a-z]{2,}(?![\w'\"`/=<>])")
_NAME = r"(?:[A-Za-z]{3}|[\u2e80-\u9fff])"
_SEVERAL = re.compile(rf"[,;:.] .*{_NAME}|{_NAME}.*[,;:.] ", re.DOTALL)
_WEAK, _WEAKEST = 8, 4  # letters: a form of fewer makes no message of a phrase, or of any word, that stays in English
_MORE = re.compile(r"\.(\{\d+\})$")
_CONSTANTS = {"None", "True", "False"}  # of a value as Python writes it
_DOUBT = 20  # how many letters left in English a doubtful match is worth
_WIDE, _FULL = re.compile(r"[\u2e80-\u9fff]"), re.compile(r"[\u3001-\u303f\uff01-\uff60]")
_LONGEST, _PIECES, _DEEPEST = 700, 10, 5  # what bounds the time that a text can take
_TRIES, _TRIES_OF_A_LINE = 5000, 500
_SIGNS = {
    ". ": "。",
    "; ": "；",
    ", ": "，",
    ",": "，",
    ": ": "：",
    " (": "（",
    "(": "（",
    ") ": "）",
    ") (": "）（",
    ")": "）",
    ".": "。",
    " ": " ",
}


def key(text: str) -> str:
    """The form by which a text stands in a catalogue: without blanks and punctuation at its ends.

    >>> key(", and {0} more.")
    'and {0} more'
    >>> key("a tuple, such as (Flip(), Erase()).")
    'a tuple, such as (Flip(), Erase())'
    """
    start, end = _core(text)
    return text[start:end]


def _core(text: str) -> tuple[int, int]:
    """Where a text starts and ends without blanks and punctuation; a parenthesis that is opened within is closed within."""
    end = len(text.rstrip(_EDGE))
    start = min(len(text) - len(text.lstrip(_EDGE)), end)
    if text[start:end].startswith("/") and start:  # of a path: ./runs
        start -= len(text[:start]) - len(text[:start].rstrip("."))
    while text.count("(", start, end) > text.count(")", start, end) and ")" in text[end:]:
        end = text.index(")", end) + 1
    return start, end


@dataclasses.dataclass(frozen=True)
class Form:
    """A form of messages, and how it is said.

    Args:
        text: the form in English.
        says: the translation; empty where there is none.
    """

    text: str
    says: str = ""

    @functools.cached_property
    def pieces(self) -> list[str]:
        """What is between the values."""
        return [_plain(part) for part in _VALUE.sub("\0", self.text).split("\0")]

    @functools.cached_property
    def letters(self) -> int:
        """How many letters are fixed, or are one of a few words at least: the more, the surer a match."""
        least = [min(words, key=len) for _, words in self.values if words]
        return sum(sign.isalpha() for piece in [*self.pieces, *least] for sign in piece)

    @functools.cached_property
    def words(self) -> frozenset[str]:
        """The fixed words, in lower-case letters."""
        return frozenset(word.casefold() for piece in self.pieces for word in _LETTERS.findall(piece))

    @functools.cached_property
    def values(self) -> list[tuple[str, tuple[str, ...]]]:
        """The values' numbers, each with its fixed words, if it has such."""
        return [
            (found[1], tuple(found[2].split("|")) if found[2] is not None else ())
            for found in _VALUE.finditer(self.text)
        ]

    @functools.cached_property
    def patterns(self) -> list[re.Pattern[str]]:
        """What matches a message of this form: the last anything, those before it what is clear.

        Values close the parentheses that they open; of two that stand side by side, and not in the translation, the second begins with
        a sign, or with a blank.
        """
        return [
            *(self._pattern(_CLOSED, begins) for begins in (_BEGINS if self._parted else [""])),
            self._pattern(".*?"),
        ]

    @functools.cached_property
    def _parted(self) -> set[str]:
        """The values that stand right behind another one, but not in the translation."""
        pairs = zip(self.values, self.values[1:], self.pieces[1:], strict=False)
        return {
            second
            for (first, words), (second, others), piece in pairs
            if not piece and not words and not others and f"{{{first}}}{{{second}}}" not in self.says
        }

    def _pattern(self, value: str, begins: str = "") -> re.Pattern[str]:
        whole = _escaped(self.pieces[0], first=True)
        for (number, words), piece in zip(self.values, self.pieces[1:], strict=True):
            one = "|".join(map(re.escape, words)) if words else value
            whole += f"({f'|{begins}{value}' if begins and number in self._parted else one}){_escaped(piece)}"
        return re.compile(whole, re.DOTALL)

    def match(self, text: str) -> tuple[tuple[str, ...], bool] | None:
        """The values, where the form makes a whole text; and whether that is doubtful.

        It is where a value opens a parenthesis that it does not close or goes from one cell of a table to the next, and where the
        first or the last may be two messages.
        """
        if self.patterns[-1].fullmatch(text) is None:
            return None
        found = next(filter(None, (pattern.fullmatch(text) for pattern in self.patterns)))
        values = found.groups()
        ends = [values[0]] * (not self.pieces[0]) + [values[-1]] * (not self.pieces[-1] and not self.is_label)
        doubtful = found.re is self.patterns[-1] and not all(map(_IS_CLOSED.fullmatch, values))
        doubtful = doubtful or any(map(_CELLS.search, values)) or bool(not self.pieces[0] and _LABEL.match(values[0]))
        return values, doubtful or any(_NEXT.search(_QUOTED.sub("", value)) for value in ends)

    def filled(self, values: Iterable[str]) -> str:
        """The translation with these values, in the order of the form."""
        by_number = dict(zip((number for number, _ in self.values), values, strict=True))
        of = dict(self.values)

        out, end = "", 0
        for found in _VALUE.finditer(self.says):
            value = by_number[found[1]]
            out = _joined(out, _plain(self.says[end : found.start()]))
            out = _joined(out, value if found[2] is None else found[2].split("|")[of[found[1]].index(value)])
            end = found.end()
        return _joined(out, _plain(self.says[end:]))

    @functools.cached_property
    def is_label(self) -> bool:
        """Whether it is what stands before a message, as ``"note: {0}"`` and ``"record {0}: {1}"`` are."""
        before = self.pieces[0] and not self.pieces[-1] and len(self.pieces) > 1 and self.pieces[-2].endswith(": ")
        return bool(before) and _WEAKEST <= self.letters < _WEAK

    @functools.cached_property
    def is_strong(self) -> bool:
        """Whether a match is no chance: by many letters, or because it is of a label."""
        return self.letters >= _WEAK or self.is_label

    def may_be(self, values: Iterable[str]) -> bool:
        """Whether a form of so few letters can be what makes a message of these values: not of several messages."""
        return self.is_strong or not any(map(_SEVERAL.search, values))

    def is_sure(self, new: Iterable[str]) -> bool:
        """Whether a form of so few letters can be what makes a message of these translated values: not of English phrases."""
        if self.is_strong:
            return True
        left = _WORD if self.letters < _WEAKEST else _PHRASE
        return not any(left.search(_QUOTED.sub("", value)) for value in new)

    def faults(self) -> list[str]:
        """What is wrong with the translation: values that it loses, makes up or has other words for."""
        mine = dict(self.values)
        said_values = [(found[1], found[2]) for found in _VALUE.finditer(self.says)]
        faults = [f"has no value {number}" for number, _ in said_values if number not in mine]
        faults += [
            f"loses the value {number}"
            for number, words in mine.items()
            if not words and number not in [each for each, _ in said_values]
        ]
        for number, words in said_values:
            given = len(words.split("|")) if words is not None else 0
            if number in mine and given != len(mine[number]):
                faults.append(f"has {given} words for the value {number}, which has {len(mine[number])}")
        return faults


def _plain(text: str) -> str:
    return text.replace("{{", "{").replace("}}", "}")


def _escaped(text: str, *, first: bool = False) -> str:
    """A pattern for a fixed text; its first letter may be a capital, and a blank may be the end of a line."""
    found = re.escape(text).replace(r"\ ", r"[ \u00a0\n]")
    if first and text[:1].isalpha():
        found = f"[{text[0].lower()}{text[0].upper()}]" + found[1:]
    return found


class Catalogue:
    """The forms of a language.

    Args:
        says: translations by form.

    Example:
        >>> words = Catalogue({"{0} flask{1:s|}": "{0} 瓶", "missing": "缺失", "{0} are missing": "缺失 {0}"})
        >>> words.said("1 flask"), words.said("missing: 3 flasks")
        ('1 瓶', '缺失：3 瓶')
    """

    def __init__(self, says: Mapping[str, str]) -> None:
        self.exact: dict[str, str] = {}
        self._forms: list[Form] = []
        for text, translation in says.items():
            if not translation:
                continue
            self._add(Form(text, translation))
            more = _MORE.search(text)
            if more and translation.endswith(more[1]):  # a sentence that may follow, and may not
                self._add(Form(text[: more.start()], translation[: -len(more[1])].rstrip("。")))
        self._forms.sort(key=lambda form: (-form.letters, -sum(map(len, form.pieces))))
        self._needed = [max((piece for piece in form.pieces), key=len)[1:] for form in self._forms]
        self._said: dict[str, str] = {}
        self._names = 0
        self._tries = 0
        self._known: dict[
            tuple[str, int, bool], tuple[str, int, bool] | None
        ] = {}  # what has been asked for one message

    def _add(self, form: Form) -> None:
        if form.values:
            self._forms.append(form)
        else:
            self.exact[_low(_plain(form.text))] = _plain(form.says)

    def said(self, text: str) -> str:
        """The text in this language, as far as its forms are known."""
        if len(self._said) > 20_000 or self._names != len(kept()):
            self._said.clear()
            self._names = len(kept())
        if text not in self._said:
            self._known.clear()
            self._tries = -_TRIES_OF_A_LINE * text.count("\n")
            self._said[text] = self._cover(text, 0)
        return self._said[text]

    def _whole(self, text: str, depth: int, *, within: bool = False) -> tuple[str, int, bool] | None:
        """The translation if one form makes all of the text, what it leaves in English, and whether the match is doubtful."""
        key = text, depth, within
        if key not in self._known:
            self._known[key] = self._one(text, depth, within)
        return self._known[key]

    def _one(self, text: str, depth: int, within: bool) -> tuple[str, int, bool] | None:
        """The same, looked for: of several forms, that which leaves least."""
        start, end = _core(text)
        core = text[start:end]
        if not _LETTERS.search(core):
            return None
        best = None
        users = kept()
        if core.casefold() in users:
            return None
        same = self.exact.get(_low(core))
        if same is not None and not (within and " " not in core):  # a value of one word may be a name of the user's
            best = same, 0, False
        elif depth < _DEEPEST and len(core) <= _LONGEST:
            for form, needed in zip(self._forms, self._needed, strict=True):
                if needed not in core or self._tries > _TRIES or (form.words and form.words <= users):
                    continue
                self._tries += 1
                match = form.match(core)
                if match is None or not form.may_be(match[0]):
                    continue
                values, doubtful = match
                new = [
                    value if words else self._cover(value, depth + 1, within=True)
                    for value, (_, words) in zip(values, form.values, strict=True)
                ]
                if not form.is_sure(new):
                    continue
                filled = form.filled(new)
                left = _left(filled) + _DOUBT * doubtful
                if best is None or left < best[1]:
                    best = filled, left, doubtful
                if not left:
                    break
        return None if best is None else (_signs(text[:start]) + best[0] + _signs(text[end:]), *best[1:])

    def _cover(self, text: str, depth: int, *, within: bool = False) -> str:
        """The text as one message or as several, whichever leaves less in English."""
        if not _LETTERS.search(text) or depth > _DEEPEST:
            return text
        whole = self._whole(text, depth, within=within)
        if whole is not None and not whole[1]:
            return whole[0]
        cut = _CUT.split(text)
        if len(cut) == 1:
            return text if whole is None else whole[0]
        parts = self._in_pieces(cut[::2], [*cut[1::2], ""], depth, within)
        return parts if whole is None or _left(parts) < whole[1] else whole[0]

    def _in_pieces(self, pieces: list[str], signs: list[str], depth: int, within: bool) -> str:
        """Each of the longest known pieces translated."""
        from rich.cells import cell_len

        out, behind, known, place = "", 0, False, 0
        while place < len(pieces):
            known_before, before = known, signs[place - 1] if place else ""
            # A word after a comma may be one of a list of names, and one after an arrow the name of what is predicted.
            listed = before in (", ", " → ") or (before != "" and pieces[place] in _CONSTANTS)
            taken, found = self._longest(pieces, signs, place, depth, within or listed)
            piece = "".join(each + sign for each, sign in zip(pieces[place:taken], signs[place:taken], strict=True))
            piece += pieces[taken]
            known = found is not None
            if "\n" in before:
                out, behind = out + before, 0
            elif before.isspace() and len(before) > 1:  # a table: the next column stays where it was
                out, behind = out + " " * max(len(before) + behind, 1), min(len(before) + behind - 1, 0)
            elif not (before == " " and out[-1:] in "。；，：）"):
                out += _signs(before) if known_before or known else before
            out += piece if found is None else found
            behind += 0 if found is None else cell_len(piece) - cell_len(found)
            place = taken + 1
        return out

    def _longest(
        self, pieces: list[str], signs: list[str], start: int, depth: int, within: bool
    ) -> tuple[int, str | None]:
        """The last of the pieces from ``start`` on that are one message, and its translation."""
        last = next(
            (
                end
                for end in range(start, len(pieces))
                if "\n" in signs[end] or (signs[end].isspace() and len(signs[end]) > 1) or end - start >= _PIECES
            ),
            len(pieces) - 1,
        )
        for end in range(last, start - 1, -1):
            if end - start == len(pieces) - 1 and end > start:
                continue  # all of it has been tried
            text = "".join(each + sign for each, sign in zip(pieces[start:end], signs[start:end], strict=True))
            found = self._whole(text + pieces[end], depth, within=within)
            if found is not None and not found[2]:
                return end, found[0]
        return start, None


def _left(text: str) -> int:
    """How many letters of a translation are English words."""
    return sum(map(len, _WORD.findall(text)))


def _joined(one: str, other: str) -> str:
    """Two texts as one: no blank between Chinese letters or beside full-width signs, one between Chinese and Latin letters.

    >>> _joined("准确率 ", "变差"), _joined("按", "RMSE"), _joined("行。", " 列")
    ('准确率变差', '按 RMSE', '行。列')
    """
    left, right = one.rstrip(" "), other.lstrip(" ")
    if not left or not right or len(one) - len(left) + len(other) - len(right) > 1:
        return one + other
    ends = left[-1], right[0]
    if all(map(_WIDE.match, ends)) or any(map(_FULL.match, ends)):
        return left + right
    if any(map(_WIDE.match, ends)) and any(sign.isascii() and sign.isalnum() for sign in ends):
        return f"{left} {right}"
    return one + other


def _signs(text: str) -> str:
    return _SIGNS.get(text, text)


def _low(text: str) -> str:
    return text[:1].lower() + text[1:]


@functools.cache
def catalogue(language: str) -> Catalogue:
    """The catalogue of a language."""
    import polib

    says = {}
    for path in sorted((Path(__file__).parent / language).glob("*.po")):
        says.update({entry.msgid: entry.msgstr for entry in polib.pofile(str(path))})
    return Catalogue(says)


def said(text: str) -> str:
    """A message in the current language.

    >>> said("3 rows are too few for 5 folds")  # in English it stays as it is
    '3 rows are too few for 5 folds'
    """
    language = current()
    return text if language == "en" else catalogue(language).said(text)
