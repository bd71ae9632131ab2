"""The commands that only some models answer to: each other kind of model is refused in one message."""

import sys
from pathlib import Path

import pytest

from danlu.cli.entry import main

GOLDEN = Path(__file__).parent / "golden" / "version-3"
ASKED = {
    "sample": ["--count", "1"],
    "recommend": ["--user", "1"],
    "generate": ["x"],
    "play": ["--episodes", "1"],
    "similar": [str(GOLDEN / "table" / "asked.csv"), "--among", str(GOLDEN / "table" / "asked.csv")],
}


@pytest.mark.parametrize("kind", ["pairs", "recommend", "rows", "fewshot", "segments"])
def test_a_command_that_a_model_has_not_is_refused(
    kind: str, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    able = {"rows": "sample", "recommend": "recommend"}.get(kind)
    for command, more in ASKED.items():
        monkeypatch.setattr(sys, "argv", ["danlu", command, str(GOLDEN / kind / "model"), *more])
        with pytest.raises(SystemExit) as stop:
            main()
        said = capfd.readouterr().err
        assert stop.value.code == (command != able), (command, said)
        assert "Traceback" not in said
