"""The X-ray of a training: every number of backpropagation in chosen updates, checked, on one page."""

from __future__ import annotations

import base64
import dataclasses
import html
import json
from collections.abc import Mapping, Sequence
from importlib import resources
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from danlu.engine.objective import Supervised
from danlu.errors import ConfigError
from danlu.files import write_atomic
from danlu.film.branches import branches
from danlu.film.check import Checked, check, wanted_of
from danlu.film.cut import Cut, cuts
from danlu.film.film import Film
from danlu.film.look import LayerLook, Look, looks
from danlu.film.slopes import Slopes
from danlu.language import current
from danlu.nn.losses import BinaryCrossEntropy, CategoricalCrossEntropy
from danlu.prose import wrapped
from danlu.trained.read import Say, warn

__all__ = ["XRay", "xray"]

LIMIT = 1_900_000  # bytes of a page
_SHOWN = (32, 24, 16, 12, 8, 6, 4)  # places of an axis that are tried, until the page is small enough
_WORK = 1e10  # floating-point operations for finite differences, in all
_GRID = 40  # points of a side of the map of answers


@dataclasses.dataclass(frozen=True)
class XRay:
    """What :func:`xray` found; printing it shows a table, :meth:`save` writes the page, and a notebook shows the page.

    Attributes:
        title: what it is called.
        looks: the frames.
        rows: the numbers of the rows that are followed.
        error: the largest difference of a gradient or error signal from its finite difference, relative to the largest of its array.
        checked: how many were compared.
        kinks: at how many of these the loss has a kink (a ReLU at 0, a tie under a max-pool): no derivative that one could compare with.
        data: what the page holds: plain data, arrays as base64 of float32.
    """

    title: str
    looks: tuple[Look, ...]
    rows: tuple[int, ...]
    error: float
    checked: int
    kinks: int
    data: Mapping[str, Any]

    def page(self) -> str:
        """The page: one HTML file that needs nothing but a browser."""
        shell = (
            resources.files("danlu.film")
            .joinpath("page.html")
            .read_text("utf-8")
            .replace('<html lang="en">', f'<html lang="{current()}">')
        )
        data = json.dumps(self.data, separators=(",", ":"), ensure_ascii=False).replace("</", "<\\/")
        return shell.replace("{{title}}", html.escape(self.title)).replace('"{{data}}"', data)

    def save(self, path: str | Path) -> Path:
        """Write the page.

        Raises:
            ArtifactError: the file cannot be written.
        """
        write_atomic(path, self.page())
        return Path(path)

    def __str__(self) -> str:
        last = next((look for look in reversed(self.looks) if look.batch_loss is not None), self.looks[-1])
        steps = ", ".join(str(look.step) for look in self.looks)
        lines = [wrapped(f"{self.title}: update {last.step}, of the filmed updates {steps}")]
        lines += [str(last.trace), *(wrapped(line, indent="  ") for line in (*_written_out(last), self.verdict))]
        return "\n".join(lines)

    @property
    def verdict(self) -> str:
        """How the numbers compare with finite differences, in words."""
        kinks = f" ({self.kinks:,} are at a kink of the loss, where there is no derivative)" if self.kinks else ""
        return (
            f"{self.checked:,} gradients and error signals compared with finite differences; the largest difference is "
            f"{self.error:.1e} of the largest in its array{kinks}"
        )

    def _repr_html_(self) -> str:
        inside = html.escape(self.page(), quote=True)
        return f'<iframe srcdoc="{inside}" style="width:100%;height:720px;border:0" title="{html.escape(self.title)}"></iframe>'


def xray(
    film: Film | str | Path,
    *,
    title: str | None = None,
    classes: Sequence[str] = (),
    names: Sequence[str] = (),
    source: Any = None,
    display: str = "none",
    say: Say = warn,
    **filming: Any,
) -> XRay:
    """Look at every number of backpropagation in the updates that were filmed.

    For each update and layer: the forward values, the error signal ``δ = ∂L/∂y``, the gradients ``∂L/∂θ`` of the followed rows, the
    gradient of the update's batch and the change Δθ that the optimizer made of it. Each gradient and error signal that is shown is
    compared with a central difference in float64 (a subset, evenly spread, where the network is large).

    Args:
        film: the callback of a finished :func:`danlu.fit`, or the folder of a run, whose network is then trained again from the start.
        title: of the page.
        classes: names of the classes, in the order of their codes.
        names: names of the network's inputs.
        source: the frame or arrays that the run learnt from, where it was not a file.
        display, say: how the training is shown, and what is called with each notice.
        **filming: of a run, ``rows``, ``at``, ``until`` and ``frames`` of :class:`Film`.

    Returns:
        An :class:`XRay`.

    Raises:
        ConfigError: an empty film; a training that an X-ray cannot be made of (see :class:`Film`).
        DataError: the run's data is not found.

    Reference:
        Rumelhart, Hinton & Williams (1986), "Learning representations by back-propagating errors".

    Example:
        >>> from danlu import fit, nn
        >>> from danlu.film import Film, xray
        >>> x = np.array([[0, 0], [0, 1], [1, 0], [1, 1]], np.float32)
        >>> film = Film(rows=4, at=[0, 10])
        >>> y = np.array([0, 1, 1, 0])
        >>> fitted = fit(nn.MLP((3,), 1), x, y, loss="binary_cross_entropy", epochs=12, callbacks=[film], display="none")
        >>> seen = xray(film)
        >>> [look.step for look in seen.looks], seen.error < 1e-4
        ([0, 10, 12], True)
    """
    if not isinstance(film, Film):
        run, film = film, Film(**filming)
        classes = classes or _filmed(run, film, source, display, say)
        title = title or Path(run).name
    elif filming:
        raise ConfigError(
            f"{', '.join(filming)} is for a run; this film has been made", hint="danlu.Film(rows=…, at=…)"
        )
    title = title or "X-ray"
    seen = tuple(looks(film))
    objective: Any = film.program.objective
    slopes = Slopes(film.program.model, objective.loss, film.x, film.y)
    points = _points(film)
    parts, keep = _fitting(film, seen, title, classes, names, points)
    seen = tuple(seen[index] for index in keep)
    checks = [check(slopes, look, parts, _allowed(film, len(seen))) for look in seen]
    data = _data(film, seen, parts, checks, title, classes, names, points)
    size = len(json.dumps(data))
    if size > LIMIT:
        raise ConfigError(
            f"the X-ray of {len(seen)} updates of {len(seen[0].layers)} layers takes {size / 1e6:.1f} MB; a page has room for 1.9",
            hint="follow fewer rows: danlu.Film(rows=1)",
        )
    every = [each for look in checks for each in look.values()]
    return XRay(
        title, seen, film.numbers, max((each.error for each in every), default=0.0),
        sum(each.found.size for each in every), sum(each.kinks for each in every), data,
    )  # fmt: skip


def _fitting(film: Film, seen: Sequence[Look], *words: Any) -> tuple[list[Cut], list[int]]:
    """How much of each array is shown, and which frames, so that the page is small enough."""
    keep = list(range(len(seen)))
    while True:
        for most in _SHOWN:
            parts = cuts(seen, most)
            own = [seen[index] for index in keep]
            unchecked = [
                {key: Checked(places, places * 0.0, 0.0) for key, (places, _) in wanted_of(look, parts)[0].items()}
                for look in own
            ]
            if len(json.dumps(_data(film, own, parts, unchecked, *words))) < LIMIT:
                return parts, keep
        if len(keep) <= 2:
            return parts, keep
        keep = [index for place, index in enumerate(keep) if place % 2 == 0 or index == keep[-1]]


def _filmed(run: str | Path, film: Film, source: Any, display: str, say: Say) -> Sequence[str]:
    """Train a run's network again under the film; the names of its classes."""
    from danlu.pipeline.again import learn_again

    _, learned = learn_again(run, [film], source=source, display=display, say=say)
    target = getattr(learned.model.head, "target", None)
    return [str(name) for name in getattr(target, "classes", None) or ()]


def _allowed(film: Film, frames: int) -> int:
    """How many finite differences a frame may take."""
    shape = jax.tree.map(lambda a: a.shape[1:], film.x)
    flops = film.program.model.flops(shape) or 1e6
    return int(np.clip(_WORK / (4 * flops * len(film.numbers) * frames), 64, 20_000))


def _array(array: np.ndarray, places: Sequence[np.ndarray] | None = None) -> dict[str, Any]:
    """An array for the page, whole or at ``places``: its shape, and its numbers as base64 of float32."""
    shown = np.asarray(array, np.float32)
    if places is not None and shown.ndim:
        shown = shown[np.ix_(*places)]
    return {"s": list(shown.shape), "d": base64.b64encode(np.ascontiguousarray(shown).tobytes()).decode()}


def _data(
    film: Film,
    seen: Sequence[Look],
    parts: Sequence[Cut],
    checks: Sequence[Mapping[tuple[int, str], Checked]],
    title: str,
    classes: Sequence[str],
    names: Sequence[str],
    points: Mapping[str, Any] | None,
) -> dict[str, Any]:
    objective: Any = film.program.objective
    layers = []
    for layer, part in zip(seen[0].layers, parts, strict=True):
        layers.append(
            {
                "path": layer.path, "name": layer.name, "kind": layer.kind, "act": layer.activation, "formula": layer.formula,
                "in": part.inputs.tolist(), "out": part.outputs.tolist(),
                "of": {name: list(array.shape) for name, array in layer.arrays.items()},
                "params": {name: list(param.value.shape) for name, param in layer.params.items()},
            }
        )  # fmt: skip
    frames = []
    for look, checked in zip(seen, checks, strict=True):
        own = [
            _layer_data(index, layer, part, checked)
            for index, (layer, part) in enumerate(zip(look.layers, parts, strict=True))
        ]
        frame = {"step": look.step, "epoch": look.epoch, "loss": look.loss, "batch_loss": look.batch_loss, "rate": look.rate,
                 "values": _array(np.asarray(look.trace.values)), "layers": own,
                 "outputs": _array(_answers(objective.loss, look.trace.outputs)), "error": _array(look.trace.error)}  # fmt: skip
        if points is not None:
            frame["map"] = _map(film, look, points)
        frames.append(frame)
    y = np.asarray(film.y)
    return {
        "title": title, "loss": getattr(objective.loss, "__name__", type(objective.loss).__name__),
        "rows": list(film.numbers), "members": film.members,
        "y": [classes[v] if np.issubdtype(y.dtype, np.integer) and v < len(classes) else v for v in y.tolist()] if y.ndim == 1 else [],
        "classes": list(classes), "names": list(names), "layers": layers, "frames": frames, "points": points,
        "branches": branches(film.program.model),
    }  # fmt: skip


def _layer_data(index: int, layer: LayerLook, part: Cut, checked: Mapping[tuple[int, str], Checked]) -> dict[str, Any]:
    arrays = {name: _array(value, part.of(layer, name, value)) for name, value in layer.arrays.items()}
    found: dict[str, Any] = {"arrays": arrays, "rms": {name: _rms(value) for name, value in layer.arrays.items()}}
    if (index, "dy") in checked:
        found["check"] = _differences_of(
            layer.arrays["dy"], part.of(layer, "dy", layer.arrays["dy"]), checked[index, "dy"]
        )
    found["params"] = {}
    for name, param in layer.params.items():
        places = part.of(layer, name, param.value)
        own = {"w": param.value, "g": param.gradient, "G": param.of_batch, "u": param.update, **param.moments}
        told: dict[str, Any] = {key: _array(value, places) for key, value in own.items() if value is not None}
        told["rms"] = {key: _rms(value) for key, value in own.items() if value is not None}
        if (index, name) in checked:
            told["check"] = _differences_of(param.gradient, places, checked[index, name])
        found["params"][name] = told
    return found


def _differences_of(array: np.ndarray, places: Sequence[np.ndarray], checked: Checked) -> dict[str, Any]:
    """Finite differences where there are any, in the shape of what is shown."""
    whole = np.full(array.size, np.nan)
    whole[checked.places] = checked.found
    return {**_array(whole.reshape(array.shape), places), "error": checked.error, "n": int(checked.found.size),
            "kinks": checked.kinks}  # fmt: skip


def _rms(value: np.ndarray) -> float:
    value = np.asarray(value, np.float64) if np.issubdtype(value.dtype, np.number) else np.zeros(1)
    return float(np.sqrt(np.mean(np.square(value)))) if value.size else 0.0


def _answers(loss: Any, outputs: Any) -> np.ndarray:
    """The outputs as probabilities, where the loss takes logits; members are averaged."""
    if isinstance(outputs, Mapping | tuple | list):
        return np.zeros(0)
    found = jnp.asarray(outputs)
    if isinstance(loss, BinaryCrossEntropy):
        found = jax.nn.sigmoid(found)
    elif isinstance(loss, CategoricalCrossEntropy):
        found = jax.nn.softmax(found)
    return np.asarray(found)


def _points(film: Film) -> dict[str, Any] | None:
    """The rows of the filmed batches, for a network of two inputs: what its map of answers is drawn under."""
    if (
        isinstance(film.x, Mapping)
        or film.x.ndim != 2
        or film.x.shape[1] != 2
        or not isinstance(film.program.objective, Supervised)
    ):
        return None
    batches = [frame.batch for frame in film.frames if frame.batch is not None]
    x = np.concatenate([batch["x"][np.asarray(batch["weight"]) > 0] for batch in batches])
    y = np.concatenate([batch["y"][np.asarray(batch["weight"]) > 0] for batch in batches])
    if y.ndim > 1:
        return None
    x, first = np.unique(x, axis=0, return_index=True)
    x, y = x[:300], y[first][:300]
    room = 0.1 * (x.max(0) - x.min(0)) + 1e-6
    return {
        "x": _array(x),
        "y": _array(y.astype(np.float32)),
        "low": (x.min(0) - room).tolist(),
        "high": (x.max(0) + room).tolist(),
    }


def _map(film: Film, look: Look, points: Mapping[str, Any]) -> dict[str, Any]:
    """The answer over the plane of the two inputs, rows from the top: a probability of the last class, or the value."""
    sides = [
        np.linspace(low, high, _GRID, dtype=np.float32) for low, high in zip(points["low"], points["high"], strict=True)
    ]
    across, up = np.meshgrid(sides[0], sides[1][::-1])
    grid = jnp.asarray(np.stack([across.ravel(), up.ravel()], axis=1))
    objective: Any = film.program.objective
    answers = _answers(objective.loss, film.program.model.apply(look.state.params, look.state.model_state, grid)[0])
    while answers.ndim > 2:
        answers = answers.mean(axis=1)
    if answers.ndim == 2 and answers.shape[1] > 2:
        return {"classes": _array(np.argmax(answers, axis=1).reshape(_GRID, _GRID))}
    return {"value": _array(answers.reshape(_GRID * _GRID, -1)[:, -1].reshape(_GRID, _GRID))}


def _written_out(look: Look) -> list[str]:
    """The chain rule of one weight with its numbers: the one that the followed rows pull at most."""
    dense = [layer for layer in look.layers if layer.kind == "dense" and layer.arrays["x"].ndim == 2]
    if not dense:
        return []
    layer = max(dense, key=lambda each: float(np.max(np.abs(each.params["kernel"].gradient))))
    param = layer.params["kernel"]
    i, j = map(int, np.unravel_index(np.argmax(np.abs(param.gradient)), param.gradient.shape))
    x, delta = layer.arrays["x"][:, i], layer.arrays["delta"][:, j]
    product = " + ".join(f"{a:.4g}·{d:.4g}" for a, d in zip(x, delta, strict=True))
    lines = [
        f"in layer {layer.path or 'Dense'}, weight [{i}, {j}]: ∂L/∂w = Σ x·δ = {product} = {param.gradient[i, j]:.5g}"
    ]
    if param.update is not None and param.of_batch is not None:
        lines.append(
            f"its batch asked for {param.of_batch[i, j]:.5g}; the optimizer added {param.update[i, j]:.5g}: "
            f"{param.value[i, j]:.6g} → {param.value[i, j] + param.update[i, j]:.6g}"
        )
    return lines
