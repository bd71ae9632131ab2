"""A small model of every kind of data, with rows to ask it; run as a program it writes the golden models of this format version."""

from __future__ import annotations

import base64
import dataclasses
import datetime
import json
import shutil
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import polars as pl

from danlu.data.text import TextEncoder

GOLDEN = Path(__file__).with_name("golden")

WORDS = {"red": "rot", "old": "alt", "big": "groß", "dog": "Hund", "cat": "Katze", "has": "hat"}


@dataclasses.dataclass(frozen=True)
class Kind:
    """How a small model of a kind is made: ``data(folder)`` writes what it learns from, and ``asked`` is what it is asked then."""

    data: Callable[[Path], Path | str]
    asked: str | None = None  # a file of the folder; None is the training data itself, "" nothing
    target: str = ""
    settings: dict[str, Any] = dataclasses.field(default_factory=dict)


def _table(folder: Path, *, classes: bool) -> Path:
    rng = np.random.default_rng(0)
    city, size = rng.choice(["Bern", "Oslo", "Roma"], 80), rng.normal(50, 12, 80).round(1)
    value = size * 2 + (city == "Oslo") * 30 + rng.normal(0, 3, 80)
    day = [datetime.date(2024, 1, 1) + datetime.timedelta(days=int(i)) for i in rng.integers(0, 300, 80)]
    frame = pl.DataFrame({"id": [f"r{i}" for i in range(80)], "city": city, "size": size, "day": day})
    frame = frame.with_columns(size=pl.when(pl.int_range(80) % 11 == 3).then(None).otherwise("size"))
    label = np.where(value > 110, "dear", "cheap") if classes else value.round(1)
    frame.with_columns(price=pl.Series(label)).write_csv(folder / "rooms.csv")
    frame.head(6).write_csv(folder / "asked.csv")
    return folder / "rooms.csv"


def _whole(folder: Path) -> Path:
    source = _table(folder, classes=True)
    pl.read_csv(source).head(6).write_csv(folder / "asked.csv")
    return source


def _bars(rng: np.random.Generator, standing: bool) -> np.ndarray:
    image = rng.integers(0, 60, (12, 12))
    place = rng.integers(3, 9)
    image[(slice(1, 11), slice(place, place + 2)) if standing else (slice(place, place + 2), slice(1, 11))] = 255
    return image.astype(np.uint8)


def _images(folder: Path) -> Path:
    from PIL import Image

    rng = np.random.default_rng(0)
    for label in ("standing", "lying"):
        (folder / "photos" / label).mkdir(parents=True)
        for number in range(30):
            Image.fromarray(_bars(rng, label == "standing")).save(folder / "photos" / label / f"{number}.png")
    np.save(folder / "asked.npy", np.stack([_bars(rng, True), _bars(rng, False)])[..., None])
    return folder / "photos"


def _alphabets(folder: Path) -> Path:
    """Classes of bars of one width and one place, in groups by which way they stand."""
    from PIL import Image

    rng = np.random.default_rng(0)
    for number in range(12):
        place = folder / "alphabets" / f"group{number % 3}" / f"sign{number // 3}"
        place.mkdir(parents=True)
        for drawer in range(5):
            image = rng.integers(0, 40, (12, 12))
            across, along = (number % 3) * 4, (number // 3) * 3
            image[across : across + 3] = 220
            image[:, along : along + 2] = 250
            Image.fromarray(image.astype(np.uint8)).save(place / f"{drawer}.png")
    np.save(folder / "asked.npy", np.stack([_bars(rng, True), _bars(rng, False)])[..., None])
    return folder / "alphabets"


def _tags(folder: Path) -> Path:
    from PIL import Image

    rng, lines = np.random.default_rng(0), ["file,tags"]
    for row in range(60):
        image, marks = rng.integers(0, 60, (12, 12)), rng.integers(0, 2, 2)
        for there, place in zip(marks, (np.s_[1:3, 4:], np.s_[9:11, 4:]), strict=True):
            if there:
                image[place] = 255
        Image.fromarray(image.astype(np.uint8)).save(folder / f"{row}.png")
        lines.append(f"{row}.png,{';'.join(name for name, there in zip(('up', 'down'), marks, strict=True) if there)}")
    (folder / "list.csv").write_text("\n".join(lines) + "\n")
    np.save(folder / "asked.npy", np.stack([_bars(rng, True), _bars(rng, False)])[..., None])
    return folder / "list.csv"


def _mixed(folder: Path) -> Path:
    from PIL import Image

    rng, words, lines = np.random.default_rng(0), {True: "tall", False: "wide"}, []
    for row in range(80):
        standing, agrees = rng.integers(0, 2, 2).astype(bool)
        Image.fromarray(_bars(rng, standing)).save(folder / f"{row}.png")
        note = f"it is a {words[bool(standing == agrees)]} one of {row} here"
        lines.append((f"{row}.png", note, round(float(rng.normal(5, 2)), 2), "right" if agrees else "wrong"))
    frame = pl.DataFrame(lines, schema=["photo", "note", "size", "verdict"], orient="row")
    frame.write_csv(folder / "cards.csv")
    held = ["data:image/png;base64," + base64.b64encode((folder / f"{i}.png").read_bytes()).decode() for i in range(3)]
    some = frame.head(4).with_columns(
        photo=pl.Series([*held, None]), note=pl.Series([*frame["note"][:2], None, "a tall one"])
    )
    some.write_csv(folder / "asked.csv")
    return folder / "cards.csv"


def _captions(folder: Path) -> Path:
    from PIL import Image

    rng, lines = np.random.default_rng(0), []
    for row in range(64):
        standing = bool(rng.integers(0, 2))
        Image.fromarray(_bars(rng, standing)).save(folder / f"{row}.png")
        lines.append((f"{row}.png", f"a {'standing' if standing else 'lying'} bar of number {row}"))
    frame = pl.DataFrame(lines, schema=["picture", "caption"], orient="row")
    frame.write_csv(folder / "captions.csv")
    held = ["data:image/png;base64," + base64.b64encode((folder / f"{i}.png").read_bytes()).decode() for i in range(3)]
    frame.head(3).with_columns(picture=pl.Series(held)).write_csv(folder / "asked.csv")
    return folder / "captions.csv"


def _masks(folder: Path) -> Path:
    from danlu.data.images import MaskSet, write_masks

    rng = np.random.default_rng(0)
    masks = np.zeros((40, 16, 16), np.uint8)
    for mask in masks:
        r, c = rng.integers(0, 10, 2)
        mask[r : r + 6, c : c + 6] = 1
    images = np.clip(np.array([90, 220])[masks] + rng.normal(0, 20, masks.shape), 0, 255).astype(np.uint8)[..., None]
    np.save(folder / "asked.npy", images[:2])
    names = tuple(str(row) for row in range(40))
    return write_masks(folder / "scenes", MaskSet(images, masks, (0, 1), ("ground", "light"), names))


def _boxes(folder: Path) -> Path:
    from danlu.data.images import make_scenes, write_boxes

    bars = np.zeros((2, 12, 12), np.uint8)
    bars[0, 4:8] = bars[1, :, 4:8] = 255
    options: dict[str, Any] = {"objects": (1, 2), "sides": (10, 16), "noise": 5, "seed": 0}
    scenes = make_scenes(60, size=(32, 32), sprites=(bars, ["lying", "standing"]), **options)
    np.save(folder / "asked.npy", np.stack([np.asarray(image) for image in scenes.images[:2]]))
    return write_boxes(folder / "scenes", scenes)


def _sounds(folder: Path) -> Path:
    from scipy.io import wavfile

    rng = np.random.default_rng(0)
    for label, pitch in (("low", 300), ("high", 900)):
        (folder / "tones" / label).mkdir(parents=True)
        for number in range(30):
            time = np.arange(1600) / 8000
            sound = 0.4 * np.sin(2 * np.pi * pitch * time) + rng.normal(0, 0.05, len(time))
            wavfile.write(folder / "tones" / label / f"{number}.wav", 8000, (sound * 20000).astype(np.int16))
    (folder / "asked.wav").write_bytes((folder / "tones" / "low" / "0.wav").read_bytes())
    return folder / "tones"


def _texts(folder: Path) -> Path:
    rng = np.random.default_rng(0)
    words = {"good": ("lovely", "tasty", "很好吃"), "bad": ("awful", "cold", "难吃")}
    filler = ("the soup was", "our waiter seemed", "as for the rice, it is")
    rows = [(f"{rng.choice(filler)} {rng.choice(words[label])} no {i}", label) for i in range(40) for label in words]
    pl.DataFrame(rows, schema=["review", "label"], orient="row").write_csv(folder / "reviews.csv")
    pl.DataFrame({"review": ["the soup was tasty", "awful rice"]}).write_csv(folder / "asked.csv")
    return folder / "reviews.csv"


def _sequences(folder: Path) -> Path:
    rng, rows = np.random.default_rng(0), []
    for number in range(60):
        steps = int(rng.integers(6, 10))
        values = rng.normal(0, 0.2, (steps, 2))
        values[steps // 2, number % 2] += 4
        label = ("left", "right")[number % 2]
        rows += [
            {"id": f"n{number}", "step": t, "a": a, "b": b, "side": label} for t, (a, b) in enumerate(values.round(3))
        ]
    frame = pl.DataFrame(rows)
    frame.write_csv(folder / "pulses.csv")
    frame.filter(pl.col("id").is_in(["n0", "n1"])).drop("side").write_csv(folder / "asked.csv")
    return folder / "pulses.csv"


def _story(folder: Path) -> Path:
    rng = np.random.default_rng(0)
    sentences = [" ".join(rng.choice(["the", "a", "cat", "dog", "sat", "ran"], 8)) + "." for _ in range(120)]
    (folder / "story.txt").write_text("\n\n".join(sentences))
    (folder / "asked.txt").write_text("the cat sat.\na dog ran.\n")
    return folder / "story.txt"


def _pairs(folder: Path) -> Path:
    rows = np.random.default_rng(0).choice(list(WORDS), (120, 4))
    (folder / "pairs.en").write_text("".join(" ".join(row) + "\n" for row in rows))
    (folder / "pairs.de").write_text("".join(" ".join(WORDS[word] for word in row[::-1]) + "\n" for row in rows))
    (folder / "asked.txt").write_text("red dog\nold cat has\n")
    return folder / "pairs"


def _ratings(folder: Path) -> Path:
    rng = np.random.default_rng(0)
    taste, kind = rng.normal(size=(30, 2)), rng.normal(size=(20, 2))
    rows = [
        {
            "reader": f"{user:03}",
            "book": f"b{item}",
            "stars": int(np.clip(np.round(3 + taste[user] @ kind[item]), 1, 5)),
        }
        for user in range(30)
        for item in rng.choice(20, 8, replace=False)
    ]
    pl.DataFrame(rows).write_csv(folder / "ratings.csv")
    pl.DataFrame({"reader": ["001", "002", "new"], "book": ["b3", "b19", "b0"]}).write_csv(folder / "asked.csv")
    return folder / "ratings.csv"


def _series(folder: Path) -> Path:
    rng, t = np.random.default_rng(0), np.arange(200)
    warm = (rng.random(200) < 0.3).astype(float)
    load = 50 + 8 * np.sin(2 * np.pi * t / 12) + 10 * warm + rng.normal(0, 0.5, 200)
    time = [datetime.datetime(2024, 3, 1) + datetime.timedelta(hours=int(i)) for i in t]
    frame = pl.DataFrame({"time": time, "load": load.round(3), "warm": warm})
    frame.write_csv(folder / "load.csv")
    asked = frame.tail(30).with_columns(load=pl.when(pl.int_range(30) < 26).then("load"))
    asked.write_csv(folder / "asked.csv")
    return folder / "load.csv"


def _log(folder: Path) -> Path:
    rng = np.random.default_rng(0)
    age, city = rng.uniform(18, 80, 120).round(1), rng.choice(["Bern", "Oslo"], 120)
    chance = np.where(age < 40, 0.7, 0.3)
    red = rng.random(120) < chance
    clicked = rng.random(120) < np.where(red == (city == "Oslo"), 0.7, 0.2)
    frame = pl.DataFrame({"age": age, "city": city, "banner": np.where(red, "red", "blue"), "clicked": clicked * 1})
    frame = frame.with_columns(chance=pl.Series(np.where(red, chance, 1 - chance)))
    frame.write_csv(folder / "log.csv")
    frame.select("age", "city").head(5).write_csv(folder / "asked.csv")
    return folder / "log.csv"


def _campaign(folder: Path) -> Path:
    rng = np.random.default_rng(0)
    age, city = rng.uniform(18, 80, 160).round(1), rng.choice(["Bern", "Oslo"], 160)
    mailed = rng.random(160) < 0.5
    bought = rng.random(160) < 0.2 + 0.5 * mailed * (age < 40)
    words = {"mail": np.where(mailed, "mail", "none"), "bought": np.where(bought, "yes", "no")}
    frame = pl.DataFrame({"age": age, "city": city, **words})
    frame.write_csv(folder / "campaign.csv")
    frame.select("age", "city").head(5).write_csv(folder / "asked.csv")
    return folder / "campaign.csv"


def _pages(folder: Path) -> Path:
    """A log of pages of two of three items, the second place looked at half as often."""
    rng = np.random.default_rng(0)
    lines = []
    for visit in range(120):
        age, shown = int(rng.integers(18, 80)), rng.permutation(3)[:2]
        for place, item in enumerate(shown.tolist()):
            liked = 0.8 if item == (0 if age < 45 else 2) else 0.3
            click = int(rng.random() < liked / (1 + place))
            lines.append((f"v{visit}", place + 1, ("hat", "coat", "bag")[item], click, round(1 / 3, 6), age))
    frame = pl.DataFrame(lines, schema=["visit", "place", "item", "clicked", "chance", "age"], orient="row")
    frame.write_csv(folder / "pages.csv")
    frame.select("age").head(5).write_csv(folder / "asked.csv")
    return folder / "pages.csv"


def _cart(folder: Path) -> str:
    rows = np.random.default_rng(0).normal(0, 0.05, (3, 4)).round(4)
    pl.DataFrame(rows, schema=["position", "velocity", "angle", "turn"]).write_csv(folder / "asked.csv")
    return "CartPole-v1"


_TRAINER = {"epochs": 2, "batch_size": 16, "learning_rate": 0.02}
_PICTURES: dict[str, Any] = {"trainer": _TRAINER, "model": {"width": 4}, "augment": {"rotation": 0.0, "scale": 0.0}}
KINDS = {
    "table": Kind(lambda folder: _table(folder, classes=True), "asked.csv", "price",
                  {"model": {"members": 2, "width": 8, "depth": 1}, "trainer": _TRAINER, "split": {"folds": 1}}),
    "quantity": Kind(lambda folder: _table(folder, classes=False), "asked.csv", "price",
                     {"model": {"members": 2, "width": 8, "depth": 1}, "trainer": _TRAINER}),
    "table-blend": Kind(lambda folder: _table(folder, classes=True), "asked.csv", "price",
                        {"model": {"kind": "blend", "members": 2, "width": 8, "depth": 1}, "trainer": _TRAINER}),
    "table-card": Kind(lambda folder: _table(folder, classes=True), "asked.csv", "price",
                       {"model": {"kind": "scorecard"}, "trainer": _TRAINER, "scorecard": {"compare": False}}),
    "image": Kind(_images, "asked.npy", "", _PICTURES),
    "rows": Kind(_whole, "asked.csv", "", {
        "synthesize": {"model": "autoregressive"}, "trainer": _TRAINER, "model": {"width": 8, "depth": 1}}),
    "segments": Kind(_whole, "asked.csv", "", {"segments": {"k": 2, "codes": 2}, "trainer": _TRAINER, "model": {"width": 8}}),
    "painting": Kind(_images, "asked.npy", "", {"trainer": _TRAINER, "model": {"width": 8},
                                                "generate": {"model": "vae", "codes": 2, "likelihood": "bernoulli"}}),
    "painting-flow": Kind(_images, "asked.npy", "", {"trainer": _TRAINER, "model": {"width": 4},
                                                     "generate": {"model": "flow-matching", "labels": False}}),
    "painting-gan": Kind(_images, "asked.npy", "", {"trainer": _TRAINER, "model": {"width": 4},
                                                    "generate": {"model": "gan", "codes": 4, "spectral": True}}),
    "sound": Kind(_sounds, "asked.wav", "", {"trainer": _TRAINER, "model": {"width": 4}, "sound": {"n_mels": 16}}),
    "mixed": Kind(_mixed, "asked.csv", "verdict", {
        "trainer": _TRAINER, "model": {"members": 2, "width": 8, "depth": 1}, "fusion": {"features": 4, "compare": False},
        "augment": {"rotation": 0.0, "scale": 0.0}}),
    "fewshot": Kind(_alphabets, "asked.npy", "", {
        "shots": {"k": 1, "ways": 3, "queries": 2}, "trainer": {"epochs": 2, "learning_rate": 0.02}, "model": {"width": 4}}),
    "pairs": Kind(_captions, "asked.csv", "", {
        "pair": {"columns": "picture:caption", "features": 6}, "trainer": _TRAINER, "augment": {"rotation": 0.0, "scale": 0.0}}),
    "multilabel": Kind(_tags, "asked.npy", "tags", _PICTURES),
    "segmentation": Kind(_masks, "asked.npy", "", {**_PICTURES, "model": {"width": 4, "depth": 2}}),
    "detection": Kind(_boxes, "asked.npy", "", {"trainer": {**_TRAINER, "epochs": 20}, "model": {"width": 4},
                                                     "detection": {"threshold": 0.05}}),
    "text": Kind(_texts, "asked.csv", "label", {"trainer": _TRAINER, "model": {"width": 4}, "data": {"text": "review"}}),
    "sequence": Kind(_sequences, "asked.csv", "side",
                     {"trainer": _TRAINER, "model": {"width": 6, "depth": 1}, "data": {"series": "id", "time": "step"}}),
    "language": Kind(_story, "asked.txt", "", {"trainer": {"epochs": 1, "learning_rate": 0.01}, "language": {"context": 16},
                                              "model": {"width": 16, "depth": 1}}),
    "translation": Kind(_pairs, "asked.txt", "", {
        "model": {"width": 16, "depth": 1, "dropout": 0.0}, "trainer": _TRAINER,
        "translation": {"source": "en", "target": "de", "tokens": "word", "beams": 2}}),
    "series": Kind(_series, "asked.csv", "", {
        "forecast": {"columns": ["load"], "horizon": 4, "context": 24, "known": ["warm"]},
        "trainer": {"epochs": 2, "batch_size": 32}}),
    "recommend": Kind(_ratings, "asked.csv", "", {
        "recommend": {"columns": "reader:book:stars", "dim": 4}, "trainer": {"epochs": 2, "batch_size": 32}}),
    "bandit": Kind(_log, "asked.csv", "", {
        "bandit": {"columns": "banner:clicked:chance", "folds": 2}, "model": {"width": 8, "members": 2},
        "trainer": {"epochs": 2}}),
    "pages": Kind(_pages, "asked.csv", "", {
        "bandit": {"columns": "item:clicked:chance", "slate": "visit:place", "folds": 2},
        "model": {"width": 8, "members": 2}, "trainer": {"epochs": 2}}),
    "uplift": Kind(_campaign, "asked.csv", "", {
        "uplift": {"columns": "mail:bought", "folds": 2, "cost": 0.02}, "model": {"width": 8, "members": 2},
        "trainer": {"epochs": 2}}),
    "agent": Kind(_cart, "asked.csv", "", {"agent": {
        "steps": 512, "evaluations": 1, "episodes": 2,
        "settings": {"environments": 4, "n_steps": 64, "hidden": [8]}}}),
}  # fmt: skip


def make(kind: str, folder: Path) -> Any:
    """A model of the kind, trained in ``folder``; the result of the training."""
    import danlu

    wanted = KINDS[kind]
    settings = {"evaluate": {"baselines": False, "report": False, "importance": False}, **wanted.settings}
    if kind == "agent":
        settings["evaluate"] = {"baselines": False, "report": False}
    elif kind != "table":
        settings["evaluate"].pop("importance", None)
    source, quiet = wanted.data(folder), {"display": "none", "say": lambda line: None}
    with mock.patch.object(TextEncoder, "fit", _few_buckets):
        return danlu.train(str(source), target=wanted.target, runs=folder / "runs", name="one", **quiet, **settings)


_fit = TextEncoder.fit


def _few_buckets(*args: Any, **options: Any) -> TextEncoder:
    """Texts' encoder with few numbers of n-grams, whose vectors would be megabytes."""
    return dataclasses.replace(_fit(*args, **options), buckets=256)


def asked(kind: str, folder: Path) -> Any:
    """What the model is asked: an array, or a file."""
    place = folder / str(KINDS[kind].asked)
    return np.load(place) if place.suffix == ".npy" else str(place)


def records(kind: str, folder: Path) -> list[dict[str, Any]]:
    """What the model is asked, as records of plain data."""
    found, target = asked(kind, folder), KINDS[kind].target
    if isinstance(found, np.ndarray):
        return [{"image": image.tolist()} for image in found]
    if kind == "sound":
        return [{"sound": base64.b64encode(Path(found).read_bytes()).decode()}] * 2
    if kind == "language":
        return [{"text": line} for line in Path(found).read_text().splitlines()]
    if kind == "translation":
        return [{"source": line} for line in Path(found).read_text().splitlines()]
    if kind == "recommend":
        return pl.read_csv(found, infer_schema=False).to_dicts()
    frame = pl.read_csv(found)
    if kind == "agent":
        return [{"observation": list(row)} for row in frame.iter_rows()]
    if kind == "sequence":
        groups = frame.partition_by("id", maintain_order=True)
        return [{name: group[name].to_list() for name in ("a", "b")} for group in groups]
    if kind == "series":
        return [{name: frame[name].to_list() for name in frame.columns}]
    return frame.drop(target, strict=False).to_dicts()


def answer(model: Any, kind: str, folder: Path) -> list[dict[str, Any]]:
    """What the model answers, as rows of plain data."""
    return json.loads(model.predict(asked(kind, folder), say=lambda line: None).write_json())


THINNED = ("language", "text")
"""Kinds of which there is a golden model whose arrays are written without their zeros; the weights of the second are whole numbers."""


def thinned(model: Any, inputs: Any, *, whole: bool) -> Any:
    """The model with half of the weights of its first kernels at 0, and nine of ten of the others; as codes of 8 bits where ``whole``."""
    import jax

    from danlu.nn.quantized import Quantized, weights_of

    def some_zero(number: int, leaf: Any) -> np.ndarray:
        size = np.abs(leaf)
        return np.where(size > np.quantile(size, 0.5 if number % 2 else 0.9), leaf, 0).astype(np.float32)

    leaves, form = jax.tree.flatten(model.params)
    params: Any = jax.tree.unflatten(
        form, [some_zero(n, leaf) if np.ndim(leaf) > 1 else leaf for n, leaf in enumerate(leaves)]
    )
    network, state = model.network, model.state
    if whole:
        network = Quantized(network, weights_of(network, params, state, inputs))
        params, state = jax.tree.map(np.asarray, network.adapt(params, state))
    return dataclasses.replace(model, network=network, params=params, state=state)


def write_thinned() -> None:
    """Write the golden models of the format without zeros that are not there yet."""
    import danlu
    from danlu.artifact import FORMAT_VERSION
    from danlu.artifact.artifact import SPARSE_VERSION

    for kind in THINNED:
        source, target = (GOLDEN / f"version-{version}" / kind for version in (FORMAT_VERSION, SPARSE_VERSION))
        if target.exists():
            print(f"{target} is there already; a golden file is written once")
            continue
        model = danlu.load(source / "model")
        inputs = (
            model.encoder.transform(model.encoder.rows(records(kind, source)[:1], print)) if kind == "text" else None
        )
        model = thinned(model, inputs, whole=kind == "text")
        model.save(target / "model")
        shutil.copy(source / str(KINDS[kind].asked), target)
        found = answer(danlu.load(target / "model"), kind, target)
        (target / "answers.json").write_text(json.dumps(found, ensure_ascii=False, indent=1) + "\n")


def main(*names: str) -> None:
    """Write the golden models that are not there yet."""
    from danlu.artifact import FORMAT_VERSION

    for kind in names or tuple(KINDS):
        target = GOLDEN / f"version-{FORMAT_VERSION}" / kind
        if target.exists():
            print(f"{target} is there already; a golden file is written once")
            continue
        with tempfile.TemporaryDirectory() as place:
            result = make(kind, Path(place))
            target.mkdir(parents=True)
            shutil.copytree(result.run.artifact_path, target / "model")
            shutil.copy(Path(place, str(KINDS[kind].asked)), target)
            found = answer(result.model, kind, Path(place))
            (target / "answers.json").write_text(json.dumps(found, ensure_ascii=False, indent=1) + "\n")
        print(f"{target}: {len(found)} answers")


if __name__ == "__main__":
    main(*sys.argv[1:])
    write_thinned()
