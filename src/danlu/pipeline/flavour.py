"""danlu's models as MLflow keeps and loads them: the saved model as it is, without pickle, and its answers through ``mlflow.pyfunc``.

MLflow calls this module by its name: :func:`save_model` when a model is logged, ``_load_pyfunc`` when it is loaded.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from danlu.data.fields import fields_json
from danlu.pipeline.domains import load_model
from danlu.trained import Trained

__all__ = ["FLAVOUR", "Answering", "example_of", "save_model", "signature_of"]

FLAVOUR = "danlu"
_COLUMNS = ("table", "text", "series", "translation")  # kinds whose fields are the columns of a frame


class Answering:
    """A trained model with the interface of MLflow's models.

    Args:
        trained: the model.

    Example:
        >>> import danlu, pandas, tempfile
        >>> rows = {"x": [float(i) for i in range(60)], "y": ["low", "high"] * 30}
        >>> model = danlu.train(rows, target="y", runs=tempfile.mkdtemp(), display="none", say=lambda line: None,
        ...                     model={"kind": "network", "members": 2, "width": 8}, trainer={"epochs": 1}).model
        >>> Answering(model).predict(pandas.DataFrame({"x": [3.0]})).columns.tolist()
        ['y', 'probability high', 'probability low']
    """

    def __init__(self, trained: Trained) -> None:
        self.trained = trained

    def predict(self, data: Any, params: Mapping[str, Any] | None = None) -> Any:
        """The answers for a frame, as ``danlu predict`` writes them, in a pandas frame.

        Args:
            data: as the model's files have it: a frame; of pictures an array, of agents one of observations. A frame of what is no table
                has a record in each row, as a service gets it.
            params: ``lenient`` as of :meth:`danlu.trained.Trained.answers`.
        """
        import pandas

        own, lenient = self.trained, bool((params or {}).get("lenient", False))
        takes = () if own.reader is None else own.reader.takes
        if isinstance(data, np.ndarray) and own.fields[0].kind == "array":
            data = pandas.DataFrame({own.fields[0].name: list(data)})
            takes = (np.ndarray,)
        if isinstance(data, pandas.DataFrame) and (takes or own.kind == "language"):
            return pandas.DataFrame(own.respond(data.map(_plain).to_dict("records")))
        found = own.answers(data, keep="none", lenient=lenient)
        return pandas.DataFrame(found.to_dict(as_series=False))

    def get_raw_model(self) -> Trained:
        """The model itself, for what MLflow has no name for: to explain, to calibrate, to evaluate."""
        return self.trained


def example_of(trained: Trained) -> Any:
    """One row as a pandas frame, from the schema's examples; None where it has none."""
    import pandas

    if any(field.example is None for field in trained.fields):
        return None
    return pandas.DataFrame([{field.name: field.example for field in trained.fields}])


def signature_of(trained: Trained, answers: Any = None) -> Any:
    """What the model takes and gives, as MLflow tells it.

    Columns are of any type: the model reads a number that is written as text, or whole numbers where it learnt from decimals, as it does in
    a file, and refuses what does not fit in its own words. MLflow would refuse whole numbers there, and read dates in its own way.

    Args:
        answers: for an example, from which the types of what it gives follow.
    """
    from mlflow.models import ModelSignature, infer_signature
    from mlflow.types import ColSpec, ParamSchema, ParamSpec, Schema, TensorSpec
    from mlflow.types.schema import AnyType

    inputs, first = None, trained.fields[0]
    if first.kind == "image":
        shape = (-1, *(-1 if size is None else size for size in first.shape))
        inputs = Schema([TensorSpec(np.dtype("uint8"), shape)])
    elif trained.kind in _COLUMNS:
        inputs = Schema([ColSpec(AnyType(), field.name, required=field.needed) for field in trained.fields])
    outputs = None if answers is None else infer_signature(answers).inputs
    return ModelSignature(inputs, outputs, ParamSchema([ParamSpec("lenient", "boolean", False)]))


def save_model(path: str | Path, mlflow_model: Any = None, *, folder: str | Path, **_: Any) -> None:
    """Write a model as MLflow keeps models: the folder that danlu saved, and what MLflow notes about it.

    Args:
        path: where to.
        mlflow_model: what MLflow has noted so far.
        folder: the saved model.
    """
    import mlflow.pyfunc
    from mlflow.models import Model

    import danlu

    trained = load_model(folder)
    noted = Model() if mlflow_model is None else mlflow_model
    noted.add_flavor(FLAVOUR, danlu_version=danlu.__version__, kind=trained.kind, fields=fields_json(trained.fields))
    example = example_of(trained)
    mlflow.pyfunc.save_model(
        path,
        loader_module=__name__,
        data_path=str(folder),
        mlflow_model=noted,
        signature=signature_of(trained, None if example is None else Answering(trained).predict(example)),
        input_example=example,
        pip_requirements=[f"danlu=={danlu.__version__}", f"mlflow=={mlflow.__version__}"],
    )


def _load_pyfunc(path: str) -> Answering:
    return Answering(load_model(path))


def _plain(value: Any) -> Any:
    return value.tolist() if isinstance(value, np.ndarray) else value
