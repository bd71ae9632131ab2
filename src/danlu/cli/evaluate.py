"""The ``evaluate`` command."""

from __future__ import annotations

from danlu.cli.options import Allow, Lenient, NewData, Run
from danlu.stages import showing, stage

__all__ = ["evaluate"]


def evaluate(run: Run, source: NewData, lenient: Lenient = False, allow: Allow = None) -> None:
    """Evaluate a trained run on data that has the answers."""
    with showing("auto"), stage("evaluating"):
        from danlu.data.intake import spool
        from danlu.pipeline import load_model

        with spool(source) as place:
            found = load_model(run, allow=allow or ()).evaluate(str(place), lenient=lenient)
    print(found)
