"""Texts to numbers and back: by character, by word, or by byte-pair encoding."""

from __future__ import annotations

import dataclasses
import functools
import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from danlu.errors import ArtifactError, ConfigError, DataError, unknown_name

__all__ = ["Tokenizer", "join_words"]

SPECIAL = ("<pad>", "<unknown>", "<begin>", "<end>")
PAD, UNKNOWN, BEGIN, END = range(4)
REPLACEMENT = "\N{REPLACEMENT CHARACTER}"  # how an unknown token is written
_SIZES = {"char": 20_000, "word": 30_000, "bpe": 8_000}
_BYTES = 256
_MOST = 1_000_000  # entries of a vocabulary
_LONGEST = 1_000  # characters of one entry

# Scripts that are written without spaces: each character is a word.
_UNSPACED = r"[\p{Han}\p{Hiragana}\p{Katakana}]"
_LETTER = rf"(?:(?!{_UNSPACED})[\p{{L}}\p{{M}}\p{{N}}_])"
_WORD = rf"{_UNSPACED}|{_LETTER}+(?:(?:['’]|(?<=\p{{N}})[.,](?=\p{{N}})){_LETTER}+)*|[^\s\p{{L}}\p{{M}}\p{{N}}_]"

_ALONE = r"[\x{3000}-\x{9FFF}\x{20000}-\x{10FFFF}\x{FF00}-\x{FFEF}]"  # see _is_unspaced


@dataclasses.dataclass(frozen=True)
class Tokenizer:
    """Cuts texts into tokens and numbers them; build it with :meth:`fit` or :meth:`from_json`.

    ========  ====================================================  ==========================================
    kind      a token is                                            :meth:`decode` of :meth:`encode_one`
    ========  ====================================================  ==========================================
    char      a character (a Unicode code point)                    the text, where all characters are known
    word      a word, a punctuation mark, or a character of a       the words, with single spaces
              script without spaces (Chinese, Japanese)
    bpe       a frequent run of bytes (byte-pair encoding)          the text, always
    ========  ====================================================  ==========================================

    ``lowercase`` loses the case before anything else. What stands in a text never becomes one of the special tokens,
    not even ``"<pad>"``.

    Attributes:
        kind: ``"char"``, ``"word"`` or ``"bpe"``.
        vocabulary: the tokens as text by their number; the first four are padding, unknown, begin and end. The bytes of
            a BPE token are written as the printable characters that GPT-2 uses for them.
        merges: of BPE, the pairs that are joined, the first learnt first.
        lowercase: whether case is ignored.

    Example:
        >>> tokenizer = Tokenizer.fit(["good food", "味道好"], kind="word")
        >>> tokens, mask = tokenizer.encode(["food 好", "good good good"])
        >>> tokens.shape, mask.tolist()
        ((2, 3), [[True, True, False], [True, True, True]])
        >>> tokenizer.decode(tokens[0])
        'food 好'

    Reference: Sennrich, Haddow and Birch 2016 (byte-pair encoding); Radford et al. 2019, section 2.2 (over bytes).
    """

    kind: str
    vocabulary: tuple[str, ...]
    merges: tuple[tuple[str, str], ...] = ()
    lowercase: bool = False

    @classmethod
    def fit(
        cls,
        texts: Iterable[str],
        *,
        kind: str = "word",
        size: int | None = None,
        lowercase: bool = False,
        min_count: int = 1,
    ) -> Tokenizer:
        """Learn the vocabulary of training texts.

        Args:
            texts: the training texts; one text alone is taken as it is.
            kind: see above.
            size: the largest vocabulary, special tokens included: the most frequent are kept. None takes 20,000 for
                characters, 30,000 for words and 8,000 for byte pairs.
            lowercase: whether case is ignored.
            min_count: how often a token must occur to be known; of byte pairs, to be joined.

        Raises:
            ConfigError: a kind, size or count that cannot be.
            DataError: no text, or one that is not text.
        """
        if kind not in _SIZES:
            raise unknown_name("kind of tokenizer", kind, _SIZES)
        least = len(SPECIAL) + (_BYTES if kind == "bpe" else 1)
        size = _SIZES[kind] if size is None else size
        if type(size) is not int or not least <= size <= _MOST:
            raise ConfigError(f"size is {size!r}; expected a whole number from {least} to {_MOST} for kind={kind!r}")
        if type(min_count) is not int or min_count < 1:
            raise ConfigError(f"min_count is {min_count!r}; expected a whole number from 1")
        texts = _listed(texts)
        if not any(texts):
            raise DataError(f"{len(texts)} texts hold no characters; expected some to learn a vocabulary from")
        from tokenizers import pre_tokenizers, trainers

        learner = _engine(kind, {}, (), lowercase)
        known: dict[str, Any] = {"special_tokens": list(SPECIAL), "show_progress": False, "vocab_size": size}
        if kind == "bpe":
            alphabet = pre_tokenizers.ByteLevel.alphabet()
            trainer: Any = trainers.BpeTrainer(**known, min_frequency=max(min_count, 2), initial_alphabet=alphabet)
        else:
            trainer = trainers.WordLevelTrainer(**known, min_frequency=min_count)
        _guarded(lambda: learner.train_from_iterator(texts, trainer), texts)
        model = json.loads(learner.to_str())["model"]
        vocabulary = tuple(sorted(model["vocab"], key=model["vocab"].__getitem__))
        return cls(kind, vocabulary, tuple((left, right) for left, right in model.get("merges", ())), lowercase)

    @property
    def size(self) -> int:
        """How many tokens there are, the special ones included: what an embedding needs."""
        return len(self.vocabulary)

    @property
    def pad_id(self) -> int:
        """The token that pads short texts."""
        return PAD

    @property
    def unknown_id(self) -> int:
        """The token for anything not seen in training; byte pairs never need it."""
        return UNKNOWN

    @property
    def begin_id(self) -> int:
        """The token before a text."""
        return BEGIN

    @property
    def end_id(self) -> int:
        """The token after a text."""
        return END

    def cut(self, text: str) -> list[str]:
        """The words (or characters) of a text, known or not, in the spelling used for look-up.

        Raises:
            ConfigError: of byte pairs, which have no unknown pieces.

        Example:
            >>> Tokenizer.fit(["a"], lowercase=True).cut("So good, 好吃!")
            ['so', 'good', ',', '好', '吃', '!']
        """
        if self.kind == "bpe":
            raise ConfigError(
                "cut() is for kinds 'char' and 'word'; this tokenizer's is 'bpe'", hint="use encode_one()"
            )
        engine, texts = self._engine, _listed([text])
        spelt = text if engine.normalizer is None else _guarded(lambda: engine.normalizer.normalize_str(text), texts)
        return [piece for piece, _ in _guarded(lambda: engine.pre_tokenizer.pre_tokenize_str(spelt), texts)]

    def encode_one(self, text: str, *, begin: bool = False, end: bool = False) -> list[int]:
        """The numbers of a text's tokens.

        Args:
            text: any text; an empty one has no tokens.
            begin, end: whether the begin and the end token are put round it.

        Raises:
            DataError: not a text.
        """
        return self._numbers(_listed([text]), begin, end)[0]

    def placed(self, text: str) -> tuple[list[int], list[int]]:
        """The numbers of a text's tokens, and the character that each begins at."""
        found = _guarded(lambda: self._engine.encode(text, add_special_tokens=False), _listed([text]))
        return found.ids, [start for start, _ in found.offsets]

    def encode(
        self, texts: Iterable[str], length: int | None = None, *, begin: bool = False, end: bool = False
    ) -> tuple[np.ndarray, np.ndarray]:
        """The tokens of many texts, padded at their ends to one length.

        Args:
            texts: any texts.
            length: tokens a row; longer texts lose their last tokens. None takes the longest text.
            begin, end: see :meth:`encode_one`.

        Returns:
            int32 tokens ``(rows, length)``, and a bool mask of the same shape: False where it is padding.

        Raises:
            ConfigError: a length that is not a whole number above zero.
            DataError: a text that is not text.
        """
        if length is not None and (isinstance(length, bool) or not isinstance(length, int) or length < 1):
            raise ConfigError(f"length is {length!r}; expected a whole number from 1, or None for the longest text")
        rows = self._numbers(_listed(texts), begin, end)
        length = length or max([1, *map(len, rows)])
        counts = np.minimum([len(row) for row in rows], length).astype(np.int64).reshape(-1)
        mask = np.arange(length) < counts[:, None]
        tokens = np.full(mask.shape, PAD, np.int32)
        kept = [row[:length] for row in rows]
        tokens[mask] = np.fromiter((token for row in kept for token in row), np.int32, int(counts.sum()))
        return tokens, mask

    def decode(self, tokens: Iterable[int]) -> str:
        """The text of some tokens; padding, begin and end are left out, an unknown token is written ``�``.

        Raises:
            DataError: a number that is not a token.
        """
        numbers = [int(token) for token in tokens]
        if any(not 0 <= number < self.size for number in numbers):
            bad = next(number for number in numbers if not 0 <= number < self.size)
            raise DataError(f"{bad} is not a token; expected numbers from 0 to {self.size - 1}")
        pieces = [REPLACEMENT if n == UNKNOWN else self.vocabulary[n] for n in numbers if n == UNKNOWN or n > END]
        if self.kind == "char":
            return "".join(pieces)
        if self.kind == "word":
            return join_words(pieces)
        return str(self._engine.decode([number for number in numbers if number > END], skip_special_tokens=False))

    @functools.cached_property
    def _engine(self) -> Any:
        """The library's tokenizer: derived from the fields, so never saved."""
        numbers = {piece: number for number, piece in enumerate(self.vocabulary)}
        return _engine(self.kind, numbers, self.merges, self.lowercase)

    def _numbers(self, texts: Sequence[str], begin: bool, end: bool) -> list[list[int]]:
        found = _guarded(lambda: self._engine.encode_batch_fast(texts, add_special_tokens=False), texts)
        first, last = [BEGIN] * begin, [END] * end
        return [first + one.ids + last for one in found] if begin or end else [one.ids for one in found]

    def to_json(self) -> dict[str, Any]:
        """Plain data, for the artifact."""
        return {
            "kind": self.kind,
            "lowercase": self.lowercase,
            "vocabulary": list(self.vocabulary),
            "merges": [list(pair) for pair in self.merges],
        }

    def to_library(self) -> str:
        """The tokenizer as a file of the library ``tokenizers`` (``tokenizer.json``), which cuts and joins texts as this one does.

        Marks must be left out before it joins: the first four numbers.

        Example:
            >>> import tokenizers
            >>> tokenizer = Tokenizer.fit(["good food", "味道好"], kind="word")
            >>> library = tokenizers.Tokenizer.from_str(tokenizer.to_library())
            >>> numbers = library.encode("food 味道").ids
            >>> numbers == tokenizer.encode_one("food 味道"), library.decode(numbers)
            (True, 'food 味道')
        """
        from tokenizers import Regex, decoders
        from tokenizers import Tokenizer as Engine

        engine = Engine.from_str(self._engine.to_str())
        if self.kind == "char":
            engine.decoder = decoders.Fuse()
        if self.kind == "word":  # a space in front of each word, and then none between two that are written without
            parts = [decoders.Replace(Regex(r"\A"), " "), decoders.Fuse()]
            parts += [
                decoders.Replace(Regex(rf"(?<=\s{_ALONE})\s(?={_ALONE}(?:\s|\z))"), ""),
                decoders.Strip(" ", 1, 0),
            ]
            engine.decoder = decoders.Sequence(parts)
        return str(engine.to_str(pretty=True))

    @classmethod
    def from_json(cls, data: Any) -> Tokenizer:
        """The tokenizer that :meth:`to_json` described.

        Raises:
            ArtifactError: it is damaged.
        """
        if not isinstance(data, Mapping) or set(data) != {"kind", "lowercase", "vocabulary", "merges"}:
            raise ArtifactError(f"the tokenizer is damaged: {str(data)[:80]!r}")
        problem = _flaw(data["kind"], data["lowercase"], data["vocabulary"], data["merges"])
        if problem:
            raise ArtifactError(f"the tokenizer is damaged: {problem}", hint="was the artifact changed by hand?")
        merges = tuple((left, right) for left, right in data["merges"])
        return cls(data["kind"], tuple(data["vocabulary"]), merges, data["lowercase"])


def _engine(kind: str, numbers: dict[str, int], merges: Sequence[tuple[str, str]], lowercase: bool) -> Any:
    """The library's tokenizer. Special tokens are not made known to it: a text cannot spell one."""
    from tokenizers import Regex, decoders, models, normalizers, pre_tokenizers
    from tokenizers import Tokenizer as Engine

    if kind == "bpe":
        engine = Engine(models.BPE(numbers, list(merges)))
        engine.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
        engine.decoder = decoders.ByteLevel()
    else:
        engine = Engine(models.WordLevel(numbers, unk_token=SPECIAL[UNKNOWN]))
        cut = (r"[\s\S]", "isolated", False) if kind == "char" else (_WORD, "removed", True)
        pattern, behaviour, keeps_matches = cut
        engine.pre_tokenizer = pre_tokenizers.Split(Regex(pattern), behaviour, invert=keeps_matches)
    steps: list[Any] = [normalizers.NFC()] if kind == "word" else []
    steps += [normalizers.Lowercase()] if lowercase else []
    if steps:
        engine.normalizer = normalizers.Sequence(steps)
    return engine


def _listed(texts: Iterable[str]) -> list[str]:
    """The texts in a list, each of them text."""
    found = [texts] if isinstance(texts, str) else list(texts)
    for row, text in enumerate(found):
        if not isinstance(text, str):
            raise DataError(f"text {row + 1} is {text!r:.60} ({type(text).__name__}); expected text")
    return found


def _guarded(call: Any, texts: Sequence[str]) -> Any:
    """``call()``; where it fails on half a surrogate pair, which Python holds but no encoding can, say which text."""
    try:
        return call()
    except Exception as error:
        for row, text in enumerate(texts):
            if any("\ud800" <= character <= "\udfff" for character in text):
                raise DataError(
                    f"text {row + 1} holds half of a surrogate pair, which is not a character: {text[:40]!r}",
                    hint="text.encode('utf-16', 'surrogatepass').decode('utf-16', 'replace') repairs it",
                ) from error
        raise


def join_words(words: Sequence[str]) -> str:
    """Words with a space between them, but none between two characters of a script without spaces."""
    parts: list[str] = []
    for number, word in enumerate(words):
        if number and not (_is_unspaced(words[number - 1]) and _is_unspaced(word)):
            parts.append(" ")
        parts.append(word)
    return "".join(parts)


def _is_unspaced(word: str) -> bool:
    return len(word) == 1 and (0x3000 <= ord(word) <= 0x9FFF or ord(word) >= 0x20000 or 0xFF00 <= ord(word) <= 0xFFEF)


def _flaw(kind: Any, lowercase: Any, vocabulary: Any, merges: Any) -> str | None:
    """What is wrong with a saved tokenizer, or None."""
    if kind not in tuple(_SIZES) or type(lowercase) is not bool:
        return f"kind {str(kind)[:40]!r}, lowercase {str(lowercase)[:40]!r}"
    if not isinstance(vocabulary, list) or not len(SPECIAL) < len(vocabulary) <= _MOST:
        return "its vocabulary is not a list of tokens"
    if not all(isinstance(piece, str) and 0 < len(piece) <= _LONGEST for piece in vocabulary):
        return "a token is not a text"
    known = set(vocabulary)
    if len(known) < len(vocabulary) or tuple(vocabulary[: len(SPECIAL)]) != SPECIAL:
        return "its tokens are not distinct, or the special ones do not come first"
    if kind == "char" and any(len(piece) > 1 for piece in vocabulary[len(SPECIAL) :]):
        return "a token is longer than a character"
    if not isinstance(merges, list) or (merges and kind != "bpe"):
        return "its merges are not a list"
    for pair in merges:
        if not isinstance(pair, list) or len(pair) != 2 or not all(isinstance(part, str) for part in pair):
            return "a merge is not a pair of tokens"
        if not {*pair, "".join(pair)} <= known:
            return "a merge uses tokens that it does not have"
    if kind == "bpe":
        from tokenizers import pre_tokenizers

        if not known.issuperset(pre_tokenizers.ByteLevel.alphabet()):
            return "it lacks some of the 256 bytes"
    return None
