"""Messages in the reader's language: what is found again, what stays as it is, and that no catalogue lacks anything."""

import functools
import sys
from pathlib import Path

import numpy as np
import polars as pl
import polib
import pytest
from rich.cells import cell_len

from danlu.cli import main
from danlu.data import infer_schema, read_table
from danlu.errors import ConfigError, DanluError, unknown_name
from danlu.language import LANGUAGES, Catalogue, Form, Translated, current, key, page, said, use
from danlu.prose import WIDTH, wrapped

from forms import CATALOGUES, form_of, forms, module_forms, template_forms  # isort: skip

OTHERS = [language for language in LANGUAGES if language != "en"]
VALUES = ["Q7", "X9", "Z4", "W3", "K8", "J5", "V2", "Y6", "U1", "T0", "S3", "R4"]


@functools.cache
def all_forms():
    """Where each form stands: found when a test needs it, since to read all of the source takes seconds of each process."""
    return {form: places for room in forms().values() for form, places in room.items()}


@pytest.fixture(autouse=True)
def no_names(monkeypatch):
    """No names of the user's from other tests."""
    monkeypatch.setattr("danlu.language.kept._KEPT", set())


@pytest.fixture
def chinese(monkeypatch):
    monkeypatch.setenv("DANLU_LANGUAGE", "zh")


@pytest.mark.parametrize("language", OTHERS)
def test_no_message_lacks_a_translation(language):
    says = {
        entry.msgid: entry.msgstr for path in (CATALOGUES / language).glob("*.po") for entry in polib.pofile(str(path))
    }
    lacking = [f"{form!r} ({places[0]})" for form, places in all_forms().items() if not says.get(form)]
    assert not lacking, f"{len(lacking)} without a translation; run `make catalogue` and fill them in:\n" + "\n".join(
        lacking[:20]
    )
    faults = [f"{form!r} {fault}" for form, words in says.items() for fault in Form(form, words).faults()]
    assert not faults, "\n".join(faults[:20])


@pytest.mark.parametrize("language", OTHERS)
def test_no_catalogue_holds_what_is_said_no_longer(language):
    left = [
        f"{entry.msgid!r} in {path.name}"
        for path in (CATALOGUES / language).glob("*.po")
        if path.name != "words.po"
        for entry in polib.pofile(str(path))
        if entry.msgid not in all_forms()
    ]
    assert not left, "run `make catalogue`:\n" + "\n".join(left[:20])


def test_every_message_is_found_again_by_its_form():
    numbered = {
        form: f"№{number} "
        + " ".join(f"{{{value}:{'|'.join(words)}}}" if words else f"{{{value}}}" for value, words in Form(form).values)
        for number, form in enumerate(all_forms())
    }
    catalogue, others = Catalogue(numbered), []
    for number, form in enumerate(all_forms()):
        made = Form(form)
        values = [words[0] if words else VALUES[int(value)] for value, words in made.values]
        text = made.pieces[0] + "".join(value + piece for value, piece in zip(values, made.pieces[1:], strict=True))
        found = catalogue.said(text)
        assert "№" in found, f"{text!r} became {found!r}"
        if not found.startswith(f"№{number} "):
            others.append(text)
    assert len(others) < len(all_forms()) / 100, others  # several forms can make the same text


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("1 row", "1 行"),
        ("3 rows", "3 行"),
        ("Column age is missing", "缺少列 age"),
        ("the model is worse than ridge", "模型比 ridge 差"),
        ("column rows is missing", "缺少列 rows"),  # a user's name is not a word of ours
        ("column age is missing; 3 rows", "缺少列 age；3 行"),
        ("3 rows. Column age is missing.", "3 行。缺少列 age。"),
        ("note: 3 rows", "注意：3 行"),
        ("nothing that is known", "nothing that is known"),
        ("3 rows\n\nmissing", "3 行\n\n缺失"),
        ("missing     12\nrows         3", "缺失        12\n行           3"),  # the columns stay where they were
        ("{1, 2} is a set", "{1, 2} 是集合"),
        ("12.5", "12.5"),
        ("", ""),
    ],
)
def test_what_a_text_becomes(text, expected):
    catalogue = Catalogue(
        {
            "{0} row{1:s|}": "{0} 行",
            "rows": "行",
            "missing": "缺失",
            "note": "注意",
            "column {0} is missing": "缺少列 {0}",
            "the model is {0:better|worse} than {1}": "模型比 {1} {0:好|差}",
            "{{1, 2}} is a set": "{{1, 2}} 是集合",
            "not translated yet": "",
        }
    )
    assert catalogue.said(text) == expected


def test_forms_are_those_of_the_source():
    source = '''
def f(n, name):
    """A docstring is no message."""
    say(f"column {name!r} has {n:,} value{'s' * (n != 1)}" + (", all of them" if n else ""))
    raise unknown_name("colour", name, [])
    return "the name is {}".format(name), "a set {1, 2} of two"
    return f"<td title='the name'>{name}</td><p>the {'good' if n else 'bad'} one</p>", f"{n} {'a{' if n else name}", "name"
'''
    assert sorted(form for form, _ in module_forms(source)) == [
        "a set {{1, 2}} of two",
        "all of them",
        "column {0} has {1} value{2:s|}",
        "the name is {0}",
        "the {0:good|bad} one",
        "unknown colour {0}; expected one of: {1}",
    ]
    assert [
        form
        for form, _ in template_forms("<h2>On {{ n }} {# no #}rows</h2>{% if x %}<style>a b</style>, more{% endif %}")
    ] == [
        "On {0}",
        "rows",
        "more",
    ]


def test_a_translation_that_loses_a_value_is_found():
    assert Form("{0} of {1:good|bad}", "{1:好|坏}").faults() == ["loses the value 0"]
    assert Form("{0} of {1:good|bad}", "{0} {1:好} {2}").faults() == [
        "has no value 2",
        "has 1 words for the value 1, which has 2",
    ]
    assert not Form("{0} row{1:s|}", "{0} 行").faults()


def test_pages_keep_what_is_the_users(chinese):
    text = (
        '<html lang="en"><style>.rows { color: red }</style><script>const rows = "missing rows"</script>'
        '<p title="Hint: abc &lt;b&gt;">Hint: a&lt;b&gt;</p><td translate="no">Hint: <b>rows</b></td><code>Hint: x</code><br/><p>Hint: '
        '<span class="whole">95 %</span></p></html>'
    )
    found = page(text)
    assert '<html lang="zh"' in found
    assert '<script>const rows = "missing rows"</script>' in found
    assert ".rows { color: red }" in found
    assert '<td translate="no">Hint: <b>rows</b></td><code>Hint: x</code><br/>' in found
    assert '<p title="提示：abc &lt;b&gt;">提示：a&lt;b&gt;</p>' in found
    assert '<p>提示：<span class="whole">95 %</span></p>' in found
    assert "\ue000" not in found


def test_errors_are_said_in_the_language_and_are_the_same_within(chinese):
    error = unknown_name("language", "zk", ["en", "zh"])
    assert error.message == "unknown language 'zk'; expected one of: en, zh"
    assert "提示：" in str(error)
    assert "expected" not in str(error)
    with pytest.raises(DanluError) as raised:
        read_table("/no/such/file.csv")
    assert "没有" in str(raised.value) or "不存在" in str(raised.value)


@pytest.mark.parametrize(
    ("given", "variables", "expected"),
    [
        ("", {"LANG": "zh_CN.UTF-8"}, "zh"),
        ("", {"LANG": "zh_CN.UTF-8", "LC_ALL": "C"}, "en"),
        ("", {"LANG": "de_DE.UTF-8"}, "en"),
        ("", {}, "en"),
        ("zh-TW", {"LANG": "C"}, "zh"),
        ("xx", {"LANG": "zh_CN"}, "en"),
    ],
)
def test_the_language_is_what_was_said_else_the_locales(monkeypatch, given, variables, expected):
    for name in ("LC_ALL", "LC_MESSAGES", "LANG"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("DANLU_LANGUAGE", given)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert current() == expected


def test_a_language_that_there_is_not_is_refused():
    with pytest.raises(ConfigError, match=r"unknown language 'klingon'; expected one of: en, zh"):
        use("klingon")
    assert said("3 rows") == "3 rows"


@pytest.mark.parametrize("arguments", [["--language", "zh", "show", "nowhere"], ["show", "nowhere", "--language=zh"]])
def test_every_command_takes_the_language(monkeypatch, capfd, arguments):
    monkeypatch.setenv("DANLU_LANGUAGE", "en")
    monkeypatch.setattr(sys, "argv", ["danlu", *arguments])
    with pytest.raises(SystemExit) as stop:
        main()
    told = capfd.readouterr().err
    assert stop.value.code == 1
    assert "nowhere" in told
    assert any("\u4e00" <= sign <= "\u9fff" for sign in told)
    assert not isinstance(sys.stdout, Translated)


def test_the_front_matter_of_a_printed_card_stays_as_programs_read_it(monkeypatch, capfd):
    """A card without a file goes through the same streams as messages, which made of ``value:`` a word that no program knows."""
    monkeypatch.setenv("DANLU_LANGUAGE", "en")
    model = Path(__file__).parents[1] / "trained/golden/version-3/table-card/model"
    monkeypatch.setattr(sys, "argv", ["danlu", "card", str(model), "--language", "zh"])
    with pytest.raises(SystemExit) as stop:
        main()
    front, _, text = capfd.readouterr().out.removeprefix("---\n").partition("\n---\n")
    assert stop.value.code in (0, None)
    assert "：" not in front
    assert "  value: " in front
    assert "## 数据" in text


@pytest.mark.parametrize("arguments", [["--language"], ["show", "--language", "--runs"], ["show", "--language", "xx"]])
def test_a_language_that_is_missing_is_asked_for(monkeypatch, capfd, arguments):
    monkeypatch.setenv("DANLU_LANGUAGE", "en")
    monkeypatch.setattr(sys, "argv", ["danlu", *arguments])
    with pytest.raises(SystemExit):
        main()
    assert "expected one of: en, zh" in capfd.readouterr().err


def test_chinese_lines_fit_the_terminal_and_begin_with_no_full_stop():
    text = "注意：" + "这一列在训练行里有很多缺失值，请检查。" * 9 + "（danlu predict RUN FILE --with boosting）"
    lines = wrapped(text, indent="  ").split("\n")
    assert len(lines) > 3
    assert all(cell_len(line) <= WIDTH for line in lines)
    assert all(line.lstrip()[0] not in "，。；：）" for line in lines)
    assert "".join(line.strip() for line in lines).replace(" ", "") == text.replace(" ", "")


def test_key_and_form_are_of_one_kind():
    import ast

    assert key(", and {0} more (of them).") == "and {0} more (of them)"
    node = ast.parse('f\'{a} of {{b}} {"x" if c else "y"}\'', mode="eval").body
    assert form_of(node) == "{0} of {{b}} {1:x|y}"


@pytest.mark.parametrize("joint", [" ", ", ", "\n"])
def test_no_text_takes_long(joint):
    fixed = [word for form in all_forms() for word in form.split() if "{" not in word]
    catalogue = Catalogue({form: form for form in all_forms()})
    text = joint.join(np.random.default_rng(0).choice(fixed, 700))
    matches, match = [], Form.match
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Form, "match", lambda form, text: matches.append(len(text)) or match(form, text))
        catalogue.said(text)
    assert len(matches) <= 5001 + 500 * text.count("\n")
    assert max(matches, default=0) <= 700


def test_names_of_the_users_are_never_translated(chinese):
    assert said("accuracy") == "准确率"
    infer_schema(pl.DataFrame({"accuracy": ["missing", "test"] * 5, "rows": range(10), "y": [0, 1] * 5}), target="y")
    for name in ("accuracy", "missing", "rows"):
        assert said(name) == name
    assert said("rows 12") == "rows 12"
    assert "accuracy" in said("accuracy     0.97")
    assert said("3 rows are too few for 5 folds") != "3 rows are too few for 5 folds"  # a sentence is danlu's
    assert page("<td>accuracy</td><p>rows = 366</p>") == "<td>accuracy</td><p>rows = 366</p>"
    assert said("precision") == "精确率"
