"""Options that do not exist: the answer says what to type instead."""

from __future__ import annotations

from typing import Any

from typer.core import TyperCommand

from danlu.errors import ConfigError, nearest

__all__ = ["Answering"]


class Answering(TyperCommand):
    """A command that answers ``--epochs 3`` with ``trainer.epochs=3``, and a misspelt option with the right one."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """The arguments that are left; an unknown option is a ConfigError."""
        given = list(args)  # which parsing empties
        try:
            return super().parse_args(ctx, args)
        except Exception as error:
            if type(error).__name__ != "NoSuchOption":  # typer brings a copy of click of its own, or not
                raise
            raise self._answered(str(error.option_name), given) from None  # type: ignore[attr-defined]

    def _answered(self, option: str, args: list[str]) -> ConfigError:
        from danlu.pipeline.config import SETTINGS
        from danlu.pipeline.names import answer

        own = ["--help", *(name for each in self.params for name in each.opts if name.startswith("--"))]
        close = nearest(option, own, cutoff=0.8)
        hint = f"did you mean {close}?" if close else answer(option.strip("-"), _value(option, args), SETTINGS)
        return ConfigError(f"there is no option {option}", hint=hint or f"danlu {self.name} --help shows what there is")


def _value(option: str, args: list[str]) -> str | None:
    """What was given to an option: ``--name=value`` or ``--name value``."""
    for place, each in enumerate(args):
        name, equals, value = each.partition("=")
        if name == option:
            after = args[place + 1] if place + 1 < len(args) else ""
            return value if equals else None if after.startswith("--") or "=" in after else after
    return None
