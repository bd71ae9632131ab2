"""Which language danlu speaks."""

from __future__ import annotations

import os

__all__ = ["LANGUAGES", "current", "use"]

LANGUAGES = ("en", "zh")
VARIABLE = "DANLU_LANGUAGE"
_LOCALE = ("LC_ALL", "LC_MESSAGES", "LANG")


def use(language: str) -> None:
    """Speak ``language`` from now on, in processes started later too.

    Args:
        language: ``"en"`` or ``"zh"`` (``zh_CN.UTF-8`` and ``zh-CN`` mean the same).

    Raises:
        ConfigError: there is no catalogue for it.

    Example:
        >>> use("en")
        >>> current()
        'en'
    """
    from danlu.errors import unknown_name

    known = _known(language)
    if known is None:
        raise unknown_name("language", language, LANGUAGES)
    os.environ[VARIABLE] = known


def current() -> str:
    """The language that messages are translated into; ``"en"`` leaves them as they are."""
    given = os.environ.get(VARIABLE)
    if given:
        return _known(given) or "en"
    return _known(next((os.environ[name] for name in _LOCALE if os.environ.get(name)), "")) or "en"


def _known(name: str) -> str | None:
    language = name.replace("-", "_").partition("_")[0].partition(".")[0].lower()
    return language if language in LANGUAGES else None
