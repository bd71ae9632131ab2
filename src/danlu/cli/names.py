"""Errors on the command line: one message, with what to type instead."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterator
from typing import Any

from typer.core import TyperCommand, TyperGroup

from danlu.errors import ConfigError, nearest
from danlu.language import current, said

__all__ = ["OWN", "Answering", "AnsweringGroup", "AnsweringTrain"]

_USAGE = ("BadParameter", "MissingParameter", "BadOptionUsage", "BadArgumentUsage", "NoSuchCommand", "UsageError")
_EXPECTED = {"valid integer": "a whole number", "valid number": "a number", "valid boolean": "true or false"}


def _spoken(command: Any) -> None:
    """Put what the help says of a command into the reader's language."""
    if current() == "en":
        return
    from typer import rich_utils

    for name in (
        "ARGUMENTS_PANEL_TITLE",
        "COMMANDS_PANEL_TITLE",
        "OPTIONS_PANEL_TITLE",
        "DEFAULT_STRING",
        "REQUIRED_LONG_STRING",
    ):
        setattr(rich_utils, name, said(getattr(rich_utils, name)))
    plain = getattr(rich_utils, "_make_rich_text", None)

    def folding(**how: Any) -> Any:  # without blanks, rich would cut a Chinese sentence off instead of breaking it
        text = plain(**how) if plain is not None else None
        if text is not None and hasattr(text, "overflow"):
            text.overflow = "fold"
        return text

    if plain is not None:
        rich_utils._make_rich_text = folding
    for each in (command, *getattr(command, "commands", {}).values()):
        for part in ("help", "short_help", "epilog"):
            text = getattr(each, part, None)
            if text:
                setattr(each, part, "\n\n".join(map(said, text.split("\n\n"))))
    for parameter in command.params:
        if getattr(parameter, "help", None):
            parameter.help = said(parameter.help)


class Answering(TyperCommand):
    """A command that suggests the right option for a misspelt one, and whose help is in the reader's language."""

    def format_help(self, ctx: Any, formatter: Any) -> None:
        """The help."""
        _spoken(self)
        super().format_help(ctx, formatter)

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """The arguments that are left; unknown ones raise a ConfigError."""
        with _one_message(self, ctx, list(args)):  # which parsing empties
            rest = super().parse_args(ctx, args)
        for each in self.params:
            value = ctx.params.get(each.name)
            if isinstance(value, float) and math.isnan(value):  # no bound would hold it back
                raise ConfigError(f"--{each.name.replace('_', '-')} is nan; expected a number")
        return rest


OWN = "danlu.own"
"""Where the context keeps the options of ``train`` that kinds of data own: texts by name."""


class AnsweringTrain(Answering):
    """``train``: its options are also those of the kinds of data, and ``--epochs 3`` is refused with the hint ``trainer.epochs=3``."""

    def own(self) -> dict[str, str]:
        """The options that kinds of data own, with their help; one that the command has itself means what the command says."""
        from danlu.pipeline.domains import options

        itself = {name for each in self.params for name in each.opts}
        return {name: each[0][1].help for name, each in options().items() if name not in itself}

    def flags(self) -> set[str]:
        """Those of them that are given without a value."""
        from danlu.pipeline.domains import options

        return {name for name, each in options().items() if any(option.flag for _, option in each)}

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """The arguments that are left, without the options of kinds of data, which are kept in the context."""
        known, rest, found = self.own(), [], {}
        flags = self.flags()
        words = iter(args)
        for word in words:
            name, equals, value = word.partition("=")
            if word == "--":
                rest += [word, *words]
            elif name not in known:
                rest.append(word)
            else:
                given = value if equals or name in flags else next(words, None)
                if given is None or (not equals and given.startswith("--")):
                    raise ConfigError(f"{name} needs a value: {known[name]}")
                found[name] = given
        ctx.meta[OWN] = found
        return super().parse_args(ctx, rest)

    def format_help(self, ctx: Any, formatter: Any) -> None:
        """The help, with the options of kinds of data below it."""
        own = self.own()
        width = max(map(len, own), default=0)
        self.epilog = "\n".join(["For one kind of data:", *(f"{name:{width}}  {said}" for name, said in own.items())])
        super().format_help(ctx, formatter)

    def shell_complete(self, ctx: Any, incomplete: str) -> list[Any]:
        """The possible completions of a word."""
        found = super().shell_complete(ctx, incomplete)
        some = found or super().shell_complete(ctx, "--")
        if not incomplete.startswith("-") or not some:
            return found
        return found + [
            type(some[0])(name, help=said) for name, said in self.own().items() if name.startswith(incomplete)
        ]

    def setting_for(self, option: str, value: str | None) -> str | None:
        """What to type for an option that is a setting, or None."""
        from danlu.pipeline.config import setting_names
        from danlu.pipeline.names import answer

        return answer(option.strip("-"), value, setting_names())


class AnsweringGroup(TyperGroup):
    """The group of commands; for an unknown one it suggests the most similar."""

    def format_help(self, ctx: Any, formatter: Any) -> None:
        """The help, in the reader's language."""
        _spoken(self)
        super().format_help(ctx, formatter)

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """See ``Answering.parse_args``."""
        with _one_message(self, ctx, list(args)):
            return super().parse_args(ctx, args)

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """The command that the first argument names."""
        with _one_message(self, ctx, list(args)):
            return super().resolve_command(ctx, args)


@contextlib.contextmanager
def _one_message(command: Any, ctx: Any, args: list[str]) -> Iterator[None]:
    """Errors of use as ConfigErrors; typer brings a copy of click of its own, or not, so they are known by their names."""
    try:
        yield
    except Exception as error:
        kind = type(error).__name__
        if kind == "NoSuchOption":
            raise _no_option(command, ctx, str(error.option_name), args) from None  # type: ignore[attr-defined]
        if kind not in _USAGE:
            raise
        close = (
            nearest(args[0], command.commands)
            if kind == "UsageError" and hasattr(command, "commands") and args
            else None
        )
        hint = (
            f"did you mean {ctx.command_path} {close}?" if close else f"{ctx.command_path} --help shows what there is"
        )
        raise ConfigError(_said(error, command, ctx, args), hint=hint) from None


def _no_option(command: Any, ctx: Any, option: str, args: list[str]) -> ConfigError:
    own = ["--help", *(name for each in command.params for name in each.opts if name.startswith("--"))]
    own += command.own() if isinstance(command, AnsweringTrain) else ()
    longer = [name for name in own if name.startswith(option)]
    close, hint = longer[0] if len(longer) == 1 else nearest(option, own, cutoff=0.8), None
    if close:
        hint = f"did you mean {close}?"
    elif command.name == "launch" and "--" not in args:
        hint = "what is launched comes after --: danlu launch --processes 2 -- train data.csv --target y"
    elif isinstance(command, AnsweringTrain):
        hint = command.setting_for(option, _value(option, args))
    return ConfigError(f"there is no option {option}", hint=hint or f"{ctx.command_path} --help shows what there is")


def _said(error: Any, command: Any, ctx: Any, args: list[str]) -> str:
    """What is wrong, in our words where a value is of another type or missing."""
    kind, said, parameter = type(error).__name__, error.format_message(), getattr(error, "param", None)
    expected = next((words for type_, words in _EXPECTED.items() if type_ in said), None)
    if kind == "BadParameter" and expected and parameter is not None:
        name = next((name for name in parameter.opts if name.startswith("--")), parameter.name)
        given = (_value(each, args) for each in (name, *parameter.opts))
        return f"{name} is {next((value for value in given if value is not None), None)!r}; expected {expected}"
    if kind == "MissingParameter":
        needed = [each.name.upper() for each in command.params if each.required]
        return f"{ctx.command_path} needs {' and '.join(needed)}"
    said = said.partition(". Did you mean")[0].rstrip(".")
    return said[:1].lower() + said[1:]


def _value(option: str, args: list[str]) -> str | None:
    """What was given to an option: ``--name=value`` or ``--name value``."""
    for place, each in enumerate(args):
        name, equals, value = each.partition("=")
        if name == option:
            after = args[place + 1] if place + 1 < len(args) else ""
            return value if equals else None if after.startswith("--") or "=" in after else after
    return None
