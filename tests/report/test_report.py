"""The HTML report, its plots, and TensorBoard events."""

import base64
import hashlib
import html
import io
import re
import struct

import jax
import jinja2
import numpy as np
import pytest
from PIL import Image

import danlu
from danlu import nn, optim
from danlu.errors import ArtifactError
from danlu.evaluate import Interval, Rows, compare, decomposition, intervals
from danlu.evaluate.detection import Found
from danlu.evaluate.stress import stressed
from danlu.report import ReportData, TensorBoardLogger, log_test, write_report
from danlu.report.detections import draw_boxes
from danlu.report.events import log_plots
from danlu.report.html import rendered, whole_numbers
from danlu.report.parts import PLACES, add_part
from danlu.report.picture import first_layers, sheet
from danlu.report.plots import (
    calibration_plot,
    confusion_plot,
    curves_plot,
    interval_plot,
    ranking_plot,
    short_count,
)
from danlu.report.probabilities import probability_words
from danlu.report.stress import stress_section
from danlu.report.svg import Panel
from danlu.report.svg import drawn as pictures_of
from danlu.report.words import in_parts

pytestmark = pytest.mark.usefixtures("laid_out")

HOSTILE = "<script>alert('x')</script>"


def rows_of(task, classes=2, rows=80):
    rng = np.random.default_rng(0)
    if task == "regression":
        truth = rng.normal(size=rows)
        return Rows(task, truth, truth + rng.normal(size=rows))
    prediction = rng.dirichlet(np.ones(classes), size=rows)
    return Rows(task, rng.integers(classes, size=rows), prediction)


def data_of(task, classes=("no", "yes"), **changes):
    rows = rows_of(task, len(classes))
    other = np.zeros_like(rows.prediction) + rows.prediction.mean(axis=0)
    history = [
        {"epoch": e, "step": e, "loss": 1 / (e + 1), "val_loss": 1.1 / (e + 1), "accuracy": 0.5, "val_accuracy": 0.6}
        for e in range(5)
    ]
    fields = {
        "title": "run",
        "target": "churn",
        "task": task,
        "classes": () if task == "regression" else classes,
        "rows": rows,
        "scores": intervals(rows),
        "others": {"the mean": intervals(Rows(task, rows.truth, other))},
        "comparisons": [compare(rows, other, "the mean")],
        "history": history,
        "best_epoch": 3,
        "parts": {"train": 1000, "validation": 10, "test": 80},
        "mistakes": [{"true": "yes", "size": 3}],
        "notices": ["two rows were dropped"],
        "config": {"trainer": {"epochs": 5}},
        "facts": {"epochs": "5"},
        "environment": {"danlu": "0"},
    }
    return ReportData(**{**fields, **changes})


@pytest.mark.parametrize(
    ("task", "classes", "figures"),
    [("regression", ("-",), 6), ("binary", ("no", "yes"), 7), ("multiclass", tuple("abcde"), 5)],
)
def test_a_report_is_one_file_that_needs_no_network(tmp_path, task, classes, figures):
    data = data_of(task, classes)
    text = write_report(tmp_path / "report.html", data).read_text(encoding="utf-8")
    assert text.count("<svg") == figures
    assert "1,000" in text
    assert data.comparisons[0].sentence in html.unescape(re.sub(r"</?span[^>]*>", "", text))
    outside = re.sub(r'xmlns(:\w+)?="[^"]*"|rdf:resource="[^"]*"|"http://[^"]*\.dtd"', "", text)
    assert not re.search(r"(src|href)=\"(?!#|data:)", outside)
    assert "url(" not in re.sub(r"url\(#\w+\)", "", outside)
    assert len(text) < 1_000_000
    script = re.search(r"<script>(.*?)</script>", text, re.DOTALL)
    digest = base64.b64encode(hashlib.sha256(script[1].encode()).digest()).decode()
    policy = re.search(r'Content-Security-Policy" content="([^"]*)"', text)[1]
    assert policy == f"default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src 'sha256-{digest}'"


def test_nothing_of_the_users_is_run(tmp_path):
    changes = {
        "target": HOSTILE,
        "title": HOSTILE,
        "notices": [HOSTILE],
        "mistakes": [{HOSTILE: HOSTILE}],
        "facts": {HOSTILE: HOSTILE},
        "config": {HOSTILE: HOSTILE},
        "command": HOSTILE,
    }
    for task, classes in (("binary", (HOSTILE, "no")), ("regression", ("-",))):
        text = write_report(tmp_path / "report.html", data_of(task, classes, **changes)).read_text(encoding="utf-8")
        assert HOSTILE not in text
        assert text.count("<script") == 1, "the page's own"


def test_what_there_is_not_is_left_out(tmp_path):
    text = write_report(tmp_path / "r.html", ReportData("run", "y", "regression")).read_text(encoding="utf-8")
    assert "<svg" not in text
    assert "largest mistakes" not in text


def test_names_in_any_script_are_drawn(recwarn):
    rows = rows_of("multiclass", 3)
    assert "流失客户" in confusion_plot(rows, ["流失客户", "$x^2", "ж"])
    assert not recwarn


def test_many_classes_fit():
    rows = rows_of("multiclass", 40)
    assert len(confusion_plot(rows, [f"class number {i}" for i in range(40)])) < 300_000


def test_curves_of_one_epoch_without_validation():
    [panel] = curves_plot([{"epoch": 0, "step": 1, "loss": 1.0}], None)
    assert "<svg" in panel
    assert curves_plot([], None) == []


def test_ranking_of_one_class_is_left_out():
    rows = Rows("binary", np.zeros(5, int), np.tile([0.5, 0.5], (5, 1)))
    assert ranking_plot(rows) == []


def _records(path):
    """The events of a file: TFRecord framing, then the protocol buffer."""
    from tensorboardX.proto.event_pb2 import Event

    data = path.read_bytes()
    while data:
        (length,) = struct.unpack("<Q", data[:8])
        event = Event()
        event.ParseFromString(data[12 : 12 + length])
        yield event
        data = data[16 + length :]


def test_events_hold_the_history(tmp_path):
    x = np.random.default_rng(0).normal(size=(64, 2)).astype("float32")
    logger = TensorBoardLogger(tmp_path)
    fitted = danlu.fit(
        nn.Dense(1), (x, x[:, 0]), loss="mse", validation=0.25, epochs=3, callbacks=[logger], display="none"
    )
    [path] = tmp_path.glob("events.out.tfevents.*")
    found = {(v.tag, e.step): v.simple_value for e in _records(path) for v in e.summary.value}
    for row in fitted.history:
        assert found["train/loss", row["step"]] == pytest.approx(row["loss"])
        assert found["validation/loss", row["step"]] == pytest.approx(row["val_loss"])
        assert found["training/learning_rate", row["step"]] == pytest.approx(row["learning_rate"])
    drawn = {(v.tag, e.step): v.histo for e in _records(path) for v in e.summary.value if v.HasField("histo")}
    steps = [row["step"] for row in fitted.history]
    assert {key for key in drawn if key[0] == "weights/kernel"} == {("weights/kernel", step) for step in steps}
    assert drawn["weights/kernel", steps[-1]].num == 2
    last = np.asarray(fitted.train_state.params["kernel"], np.float64)
    assert drawn["weights/kernel", steps[-1]].sum == pytest.approx(last.sum(), rel=1e-5)


def test_gradients_and_images_are_drawn_where_they_are_asked_for(tmp_path):
    x = np.random.default_rng(0).integers(0, 256, (4, 5, 5, 1), np.uint8)
    y = np.arange(4.0, dtype=np.float32)
    model = nn.Sequential((nn.Rescale(), nn.Conv(3, 2), nn.Flatten(), nn.Dense(1)))
    logger = TensorBoardLogger(tmp_path, draw=("gradients", "images"))
    settings = {"loss": "mse", "optimizer": optim.sgd(0.0), "batch_size": 4, "epochs": 1, "display": "none"}
    fitted = danlu.fit(model, (x, y), callbacks=[logger], **settings)
    [path] = tmp_path.glob("events.out.tfevents.*")
    found = {v.tag: v for e in _records(path) for v in e.summary.value}

    def loss(params):
        return jax.numpy.mean((model.apply(params, fitted.state, x)[0][:, 0] - y) ** 2)

    slope = np.asarray(jax.grad(loss)(fitted.params)[1]["kernel"])
    drawn = found["gradients/1/kernel"].histo
    assert (drawn.num, drawn.sum) == (slope.size, pytest.approx(slope.sum(), rel=1e-4, abs=1e-5))
    tiles = _pixels(found["images/batch"])[::23, ::23, 0]  # each pixel is shown as 23 by 23
    tiles = sorted(tiles[i : i + 5, j : j + 5].tobytes() for i in (0, 6) for j in (0, 6))
    assert tiles == sorted(sheet(each[None])[..., 0].tobytes() for each in x)
    assert _pixels(found["images/filters/1/kernel"]).shape[:2] == (5 * 51, 5 * 51)


def test_the_batch_is_shown_as_the_network_changes_it():
    model = nn.Sequential((nn.Rescale(), nn.RandomErase(0.5), nn.RandomFlip(), nn.Flatten()))
    x, key = np.random.default_rng(0).integers(0, 256, (6, 4, 4, 1), np.uint8), jax.random.key(3)
    expected = model.apply(*model.init(key, (4, 4, 1))[:2], x, train=True, key=key)[0]
    found = first_layers(model, x, key)
    assert np.array_equal(np.asarray(found).reshape(6, -1), expected)
    assert first_layers(nn.Dense(1), x, key) is x


def test_the_reports_plots_are_images_too(tmp_path):
    with pictures_of() as kept:
        confusion_plot(rows_of("binary", 2), ["no", "yes"])
    assert [(title, pixels.shape) for title, pixels in kept] == [("Confusion matrix", (324, 402, 3))]
    log_plots(tmp_path, [("Calibration (ECE 0.1)", kept[0][1])], step=3)
    [path] = tmp_path.glob("events.out.tfevents.*")
    [(step, value)] = [(e.step, v) for e in _records(path) for v in e.summary.value]
    assert (step, value.tag) == (3, "report/Calibration")
    assert np.array_equal(_pixels(value), kept[0][1])
    with pictures_of() as none:
        pass
    assert none == []


def _pixels(value):
    return np.asarray(Image.open(io.BytesIO(value.image.encoded_image_string)))


def test_the_test_is_written_with_its_settings_and_replaced_by_the_next_training(tmp_path):
    settings = {"trainer.learning_rate": 0.1, "model.kind": "network", "split.folds": None, "augment.list": [1]}
    log_test(tmp_path, settings, {"accuracy": 0.75, "ece": float("nan")}, step=7)
    [path] = tmp_path.glob("events.out.tfevents.*")
    values = [(v, e.step) for e in _records(path) for v in e.summary.value]
    assert {(v.tag, v.simple_value, step) for v, step in values if v.tag.startswith("test/")} == {
        ("test/accuracy", 0.75, 7)
    }
    told = b"".join(v.metadata.plugin_data.content for v, _ in values)
    assert b"trainer.learning_rate" in told
    assert b"split.folds" not in told
    logger = TensorBoardLogger(tmp_path)
    logger.training = type("Running", (), {"history": []})()
    logger.on_train_begin()
    logger.on_train_end({})
    assert not path.exists()


def test_no_number_is_broken_at_the_end_of_a_line():
    text = whole_numbers("<b>1,234.5</b> is −0.076 lower (95 % interval); from 2018-06-26 19:00")
    assert str(text).startswith('&lt;b&gt;<span class="whole">1,234.5</span>&lt;/b&gt;')
    for number in ("−0.076", "95 %", "2018-06-26", "19:00"):
        assert f'<span class="whole">{number}</span>' in text
    assert "span" not in whole_numbers("9" * 40)
    assert whole_numbers(whole_numbers("<1")) == whole_numbers("<1")


def test_a_measure_with_an_ideal_is_best_near_it(tmp_path):
    shares = {"the network": 0.82, "too wide": 1.0, "too narrow": 0.5}
    scores = {name: {"coverage": Interval(share, share, share)} for name, share in shares.items()}
    own = scores.pop("the network")
    data = ReportData("run", "load", "forecast", scores=own, others=scores, ideals={"coverage": 0.8})
    text = write_report(tmp_path / "report.html", data).read_text(encoding="utf-8")
    assert re.findall(r'class="n best[^"]*">([\d.]+)<', text) == ["0.82"]
    assert "→ 0.8" in text
    assert "→ best near this value" in text


def test_titles_are_broken_and_large_numbers_along_axes_are_short() -> None:
    title = "consumption of the household, Berlin Mitte: a middling forecast"
    with Panel(title) as (panel, axes):
        axes.plot([0, 600_000], [2_400_000, 2_400_001])
    texts = re.findall(r"<text[^>]*>([^<]+)</text>", panel.svg)
    assert title not in texts, "on one line it would be cut at the edge"
    assert " ".join(text for text in texts if text in title) == title
    assert "200k" in texts
    assert not [text for text in texts if "e" in text and text not in title], "no power of ten beside an axis"
    with Panel("near numbers") as (panel, axes):
        axes.plot([1, 2], [0.1025507, 0.1025508])
    assert "1e" not in panel.svg


def test_names_of_columns_may_be_broken_where_their_words_end() -> None:
    assert str(in_parts("first_listedOn.a<b")) == "first_<wbr>listed<wbr>On.<wbr>a&lt;b"


def test_scores_without_intervals_are_all_shown() -> None:
    shown = interval_plot({"ours": Interval(0.10255070), "twin": Interval(0.10255071), "far": Interval(1.91)}, "MSE")
    assert "1.91 ▸" not in shown, "a dot, and no arrow at the edge"
    assert "1.5" in shown


def test_names_of_models_are_whole_and_labels_of_boxes_within_the_picture() -> None:
    shown = interval_plot({"ours": Interval(0.5), "HistGradientBoosting of summaries": Interval(0.6)}, "accuracy")
    assert "summaries" in shown
    low = Found(np.array([[2.0, 0.0, 20.0, 20.0]]), np.array([0]))
    picture = draw_boxes(np.full((20, 20, 1), 100, np.uint8), low, ["standing"], "#ff0000")
    written = (picture > 180).all(axis=2)
    assert written[-14:].any(), "the label of a box that fills the image stands at its bottom"
    right = Found(np.array([[17.0, 8.0, 20.0, 14.0]]), np.array([0]))
    picture = draw_boxes(np.full((20, 20, 1), 100, np.uint8), right, ["standing"], "#ff0000")
    black = np.flatnonzero((picture == 0).all(axis=2).any(axis=0))
    assert black[-1] < picture.shape[1] - 1 or len(black) > 40, "the label is moved to the left"


@pytest.mark.parametrize("task", ["binary", "multiclass"])
def test_what_the_probabilities_are_worth_is_said(tmp_path, task):
    """Right probabilities are not blamed for chance; sharpened ones are too sure; the parts add up to the score."""
    rng, classes = np.random.default_rng(1), 2 if task == "binary" else 3
    p = rng.dirichlet(np.ones(classes), size=1500)
    truth = (p.cumsum(1) < rng.random((1500, 1))).sum(1).clip(0, classes - 1)
    sharp = p**3 / (p**3).sum(1, keepdims=True)
    right, wrong = Rows(task, truth, p), Rows(task, truth, sharp)
    of_right, of_wrong = (probability_words(each, intervals(each, ["ece"])["ece"]) for each in (right, wrong))
    assert "chance alone can explain it" in of_right[0]
    assert "too sure" not in of_right[0]
    assert "further off than chance explains" in of_wrong[0]
    assert of_wrong[0].endswith("it is too sure.")
    parts = decomposition(wrong)
    assert parts.brier == pytest.approx(parts.uncertainty - parts.resolution + parts.reliability + parts.within)
    assert parts.reliability > 5 * decomposition(right).reliability
    data = data_of(task, tuple("abc"[:classes]), rows=wrong, scores=intervals(wrong), comparisons=(), others={})
    text = write_report(tmp_path / "report.html", data).read_text(encoding="utf-8")
    said = html.unescape(re.sub(r"</?span[^>]*>", "", text))
    assert all(sentence in said for sentence in of_wrong)
    drawn = calibration_plot(wrong)
    counts = np.bincount(np.minimum((wrong.event[1] * 10).astype(int), 9), minlength=10)
    assert all(f">{short_count(count)}<" in drawn for count in counts if count), "the rows of each bin"


def test_parts_that_commands_add_stand_in_their_place(tmp_path) -> None:
    page = tmp_path / "report.html"
    assert "danlu explain RUN" not in write_report(page, data_of("binary")).read_text(encoding="utf-8")
    write_report(page, data_of("binary", places=PLACES))
    empty = page.read_text(encoding="utf-8")
    assert [command in empty for _, command in PLACES.values()] == [True] * len(PLACES)
    for content in ("<p>first</p>", r"<p>second \1</p>"):  # what was there before goes
        assert add_part(page, "explained", [(HOSTILE, content)])
    text = page.read_text(encoding="utf-8")
    assert "<p>first</p>" not in text
    assert r"<p>second \1</p>" in text
    assert HOSTILE not in text
    assert PLACES["explained"][1] not in text
    assert PLACES["stress"][1] in text
    again = data_of("binary", places=PLACES, parts_added={"explained": [(HOSTILE, r"<p>second \1</p>")]})
    assert squeezed(write_report(page, again).read_text(encoding="utf-8")) == squeezed(text)
    page.write_text("<html>an older one</html>")
    assert not add_part(page, "explained", [("t", "")])
    with pytest.raises(ArtifactError, match="cannot read the report"):
        add_part(tmp_path / "none.html", "explained", [])


def squeezed(text: str) -> str:
    return re.sub(r"\s+", " ", text)


def test_the_curves_of_all_members_are_drawn_and_can_be_hidden() -> None:
    history = [
        {"epoch": e, "loss": 1.0, "val_loss": 2.0, "loss_each": [1.0, 1.5], "val_loss_each": [2.0, 2.5]}
        for e in range(4)
    ]
    [panel] = curves_plot(history, 2)
    names = re.findall(r'data-shows="(\d)">([^<]*)<', panel)
    assert names == [("0", "each network"), ("1", "training"), ("2", "validation")]
    assert [panel.count(f'data-series="{place}"') for place, _ in names] == [4, 1, 1]
    assert "hidden" in panel.partition('class="switches"')[2][:20], "without the script there is nothing to press"


def test_what_is_worse_under_stress_is_told_beside_its_picture() -> None:
    clean = Rows("regression", np.zeros(40), np.linspace(-1, 1, 40))
    worse = Rows("regression", np.zeros(40), np.linspace(-3, 3, 40))
    found = stressed(clean, [("noise", "much noise", worse), ("noise", "none", clean)])
    title, part = stress_section(found, HOSTILE)
    assert title == "When inputs are worse"
    assert "2 changes; 1 of these surely make it worse" in part
    assert HOSTILE not in part
    assert part.count("class=unused") == 1
    assert "much noise: 1.54, worse by 1.03" in part


def test_a_picture_leaves_room_for_what_stands_beside_its_axes():
    wide, names = 0.0, ["short", "a long name that needs its room"]
    for name in names:
        with Panel("Bars") as (panel, axes):
            axes.barh([name], [1.0])
        panel.figure.draw_without_rendering()
        before, wide = wide, axes.get_position().x0
    assert wide > before + 0.1


def test_a_template_is_compiled_once(monkeypatch):
    first = rendered("explained.html.jinja", title="One", style="", body="a")
    monkeypatch.setattr(jinja2.Environment, "compile", None)
    assert rendered("explained.html.jinja", title="Two", style="", body="a") == first.replace("One", "Two")
