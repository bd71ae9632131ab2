"""The columns of a campaign: who was treated, what came of it, and which of their values mean so."""

from __future__ import annotations

import dataclasses

import numpy as np
import polars as pl

from danlu.bandits.log import Log
from danlu.errors import DataError, unknown_name

__all__ = ["NamedCampaign", "campaign_rows"]

_NO = (
    "no", "n", "false", "f", "0", "none", "control", "holdout", "hold-out", "untreated", "not treated", "placebo", "off", "without",
    "否", "无", "没有", "对照", "对照组", "不",
)  # fmt: skip
_YES = (
    "yes",
    "y",
    "true",
    "t",
    "1",
    "treated",
    "treatment",
    "treat",
    "exposed",
    "on",
    "with",
    "是",
    "有",
    "实验",
    "实验组",
    "干预组",
)
_SHOWN = 5
_FEWEST = 10  # people of a group


@dataclasses.dataclass(frozen=True)
class NamedCampaign:
    """Which column is what, and which of its values mean "was treated" and "did what is wanted"; empty values are found in the data.

    Example:
        >>> NamedCampaign.of("segment=mail:visit")
        NamedCampaign(treatment='segment', outcome='visit', treated='mail', wanted='')
    """

    treatment: str
    outcome: str
    treated: str = ""
    wanted: str = ""

    @classmethod
    def of(cls, text: str) -> NamedCampaign:
        """The columns of ``treatment[=value]:outcome[=value]``.

        Raises:
            DataError: other than two different columns.
        """
        parts = [tuple(each.strip() for each in part.partition("=")) for part in text.split(":")]
        names = [name for name, _, _ in parts]
        if len(parts) == 2 and names[0] == names[1] and names[0]:
            raise DataError(
                f"--uplift is {text!r}: the treatment and the outcome are the same column; expected two different ones",
                hint="the treatment is what was done to a person, the outcome what the person did then",
            )
        if len(parts) != 2 or not all(names) or any(equals and not value for _, equals, value in parts):
            raise DataError(
                f"--uplift is {text!r}; expected two columns: treatment:outcome, or treatment=VALUE:outcome=VALUE",
                hint="the value after = is the one of who was treated, and of who did what is wanted",
            )
        return cls(*names, *(value for _, _, value in parts))

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns that are there."""
        return self.treatment, self.outcome


def campaign_rows(
    frame: pl.DataFrame, named: NamedCampaign, *, learning: bool = True
) -> tuple[Log, NamedCampaign, str, list[str]]:
    """The people of a table as a log of two actions, whose names are the treatment's values.

    Args:
        learning: whether a model is to be learnt from them, for which there must be people of both groups; else ``named`` has the values
            that it was learnt with.

    Returns:
        The log; the columns with their values; the value of who was not treated; and notices.

    Raises:
        DataError: columns that are not there, or that are no treatment or outcome; or people of one group.
    """
    for name in named.columns:
        if name not in frame.columns:
            raise unknown_name("column", name, frame.columns, error=DataError)
    notices: list[str] = []
    done = _texts(frame[named.treatment])
    empty = done.null_count()
    values = sorted(done.drop_nulls().unique().to_list())
    treated, why = _one_of(named.treatment, values, named.treated, "treatment", empty)
    if why and learning:
        notices.append(
            f"{named.treatment!r} of {treated!r} counts as treated: {why}; else --uplift {named.treatment}=VALUE:{named.outcome}"
        )
    outcome, wanted, said = _outcome(frame[named.outcome], named, learning)
    notices += said
    other = next((value for value in values if value != treated), "")
    whole = pl.DataFrame({"row": np.arange(frame.height), "action": done, "reward": outcome})
    found = whole.drop_nulls()
    if found.height < whole.height:
        notices.append(f"{whole.height - found.height:,} rows lack a treatment or an outcome and are left out")
    if not found.height:
        raise DataError(f"no row has both a treatment in {named.treatment!r} and an outcome in {named.outcome!r}")
    log = Log(
        found["row"].to_numpy().astype(np.int64), np.array(found["action"].to_list()), found["reward"].to_numpy(), None
    )
    if learning:
        count = int((log.action == treated).sum())
        if min(count, len(log) - count) < _FEWEST:
            raise DataError(
                f"{count:,} people with an outcome were treated and {len(log) - count:,} were not; expected {_FEWEST} or more of each",
                hint="what a treatment changes is seen by people who are alike and were not treated",
            )
        if log.reward.min() == log.reward.max():
            raise DataError(
                f"every outcome in {named.outcome!r} is {log.reward[0]:g}, so nothing shows what the treatment changes"
            )
    return log, NamedCampaign(named.treatment, named.outcome, treated, wanted), other, notices


def _texts(column: pl.Series) -> pl.Series:
    """The values of a column as texts without what stands round them; empty ones are missing."""
    if column.dtype.is_float():
        whole = column.drop_nulls()
        if (whole == whole.round()).all():
            column = column.cast(pl.Int64, strict=False)
    return column.cast(pl.String).str.strip_chars().replace("", None)


def _one_of(name: str, values: list[str], given: str, what: str, empty: int = 0) -> tuple[str, str]:
    """Which of two values means yes, and why; without a reason where it was said."""
    if len(values) < 2:
        one = f"only the value {values[0]!r}" if values else "no values"
        lacks = f" and {empty:,} empty cells" if empty else ""
        raise DataError(
            f"the {what} {name!r} has {one}{lacks}: everybody or nobody has it; expected two values",
            hint="write the others' value where cells are empty"
            if empty
            else "a campaign to learn from needs people who were left out",
        )
    if len(values) > 2:
        some = ", ".join(map(repr, values[:_SHOWN])) + (", …" if len(values) > _SHOWN else "")
        raise DataError(
            f"the {what} {name!r} has {len(values):,} values: {some}; expected two",
            hint=f"keep the rows of two of them; which of several treatments to choose for whom: --bandit {name}:OUTCOME"
            if what == "treatment"
            else f"say which one is wanted: --uplift TREATMENT:{name}={values[0]}",
        )
    if given:
        found = [value for value in values if value.casefold() == given.casefold()]
        if not found:
            raise DataError(
                f"the {what} {name!r} has no value {given!r}; expected one of {values[0]!r} and {values[1]!r}"
            )
        return found[0], ""
    no = [value for value in values if value.casefold() in _NO or value.casefold().startswith(("no ", "not "))]
    yes = [value for value in values if value.casefold() in _YES]
    if len(no) == 1:
        return next(value for value in values if value != no[0]), f"the other value, {no[0]!r}, means not"
    if len(yes) == 1:
        return yes[0], "the value means so"
    raise DataError(
        f"nothing tells which value of the {what} {name!r} means yes: {values[0]!r} or {values[1]!r}",
        hint=f"say it: --uplift {name}={values[0]}:OUTCOME"
        if what == "treatment"
        else f"say it: --uplift TREATMENT:{name}={values[0]}",
    )


def _outcome(column: pl.Series, named: NamedCampaign, learning: bool) -> tuple[pl.Series, str, list[str]]:
    """The outcomes as float64, the text that counts as 1 (empty where they are numbers), and notices."""
    name = named.outcome
    if column.dtype == pl.Boolean and not named.wanted:
        return column.cast(pl.Float64), "", []
    if column.dtype.is_numeric() and not named.wanted:
        found = column.cast(pl.Float64)
        if found.drop_nulls().is_infinite().any() or found.is_nan().any():
            raise DataError(f"the outcomes in {name!r} hold infinite values or NaN; expected finite numbers")
        return found, "", []
    texts = _texts(column)
    values = sorted(texts.drop_nulls().unique().to_list())
    if named.wanted and (not learning or (len(values) > 2 and named.wanted in values)):
        return (texts.str.to_lowercase() == named.wanted.lower()).cast(pl.Float64), named.wanted, []
    if not values:
        return texts.cast(pl.Float64), "", []
    wanted, why = _one_of(name, values, named.wanted, "outcome")
    said = [f"{name!r} of {wanted!r} counts as 1: {why}; else --uplift {named.treatment}:{name}=VALUE"] if why else []
    return (texts == wanted).cast(pl.Float64), wanted, said
