"""Names that people know from other tools, the settings that they mean, and the error for an unknown name."""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterable, Mapping
from typing import Any

from danlu.errors import ConfigError, nearest, unknown_name

__all__ = ["NAMES", "answer", "unknown_setting"]

# Each setting (or option of ``danlu train``) with the names that it has in Keras, PyTorch, scikit-learn, XGBoost, LightGBM, Hugging Face
# and Stable-Baselines3, without case, "-" and "_". A setting's own last part needs no entry.
_ALSO: Mapping[str, str] = {
    "trainer.epochs": "epoch numepochs nepochs nbepoch maxepochs numtrainepochs maxiter niter iterations numiterations numboostround",
    "trainer.learning_rate": "lr eta learningrateinit baselr stepsize",
    "trainer.batch_size": "batch bs batchrows perdevicetrainbatchsize minibatch minibatchsize",
    "trainer.weight_decay": "wd decay l2 reglambda lambda",
    "trainer.clip_norm": "clip clipping clipnorm globalclipnorm gradclip gradientclip gradientclipval maxgradnorm",
    "trainer.beta2": "adambeta2 beta2adam",
    "trainer.patience": "earlystopping earlystoppingrounds earlystoppingpatience niternochange",
    "trainer.seed": "randomstate randomseed rngseed",
    "trainer.devices": "gpus ngpus numdevices numgpus njobs nproc workers",
    "trainer.sharding": "fsdp zero zerostage deepspeed fullyshardeddataparallel parameterserver shard",
    "trainer.tensor": "tp tensorparallel tensorparallelsize modelparallel modelparallelsize tpsize",
    "trainer.average": "ema swa useema averageweights polyak modelema weightaveraging",
    "trainer.average_decay": "emadecay emamomentum modelemadecay",
    "trainer.average_start": "swastart swaepochstart swaepoch",
    "trainer.snapshots": "cycles numcycles snapshotensemble restarts warmrestarts",
    "trainer.precision": "fp16 bf16 mixedprecision dtype amp",
    "trainer.loss": "objective criterion lossfunction lossfn",
    "model.members": "nestimators nmodels",
    "model.ensemble": "ensemblesize deepensemble",
    "model.width": "hidden hiddensize hiddendim hiddenlayersizes units dmodel numunits numleaves",
    "model.depth": "layers nlayers numlayers numhiddenlayers maxdepth",
    "model.dropout": "dropoutrate droprate dropoutprob",
    "split.test": "testsize testsplit testfraction testshare",
    "split.validation": "validationsplit valsize valsplit validationsize validationfraction val evalsplit",
    "evaluate.folds": "cv kfold kfolds nsplits nfold nfolds numfolds crossvalidation",
    "split.method": "stratify shuffle splitmethod",
    "split.column": "groups groupcolumn splitcolumn",
    "imbalance.class_weight": "classweights scaleposweight isunbalance autoclassweights",
    "imbalance.resample": "sampling oversample undersample smote",
    "imbalance.focal_gamma": "gamma focal",
    "answers.calibrate": "calibration calibrated temperaturescaling calibrationmethod",
    "answers.cost": "costs costmatrix misclassificationcost",
    "answers.alert_rate": "alertrate flagrate contamination capacity reviewrate",
    "answers.compare_by": "evalmetric scoring primarymetric comparemetric",
    "answers.level": "alpha coverage confidence confidencelevel",
    "data.positive": "positiveclass poslabel positivelabel eventclass",
    "data.delimiter": "sep separator",
    "data.drop": "dropcolumns ignore ignorecolumns exclude",
    "data.kinds": "dtypes types columntypes categorical categoricalfeatures catfeatures",
    "data.task": "problemtype tasktype modeltype mode",
    "data.image_size": "imgsz imgsize imagesize size",
    "language.context": "blocksize contextlength seqlen maxlength maxseqlength",
    "language.vocabulary": "vocabsize vocab",
    "translation.beams": "numbeams beamsize beamwidth",
    "agent.steps": "totaltimesteps timesteps totalsteps maxsteps nsteps",
    "agent.algorithm": "algo algorithm",
    "agent.episodes": "nevalepisodes evalepisodes",
    "--target": "label labelcolumn targetcolumn targetcol response y outcome dependent",
    "--text": "textcolumn textcol",
    "--test": "testfile testdata testset eval evalfile validationdata",
    "--horizon": "predictionlength forecasthorizon",
    "--runs": "output outputdir out outdir savedir logdir modeldir",
    "--name": "runname experiment experimentname",
    "--display": "verbose verbosity quiet silent progress",
    "--config": "configfile conf params paramsfile",
    "--resume": "resumefrom resumefromcheckpoint restore continue",
    "--forecast": "forecastcolumns",
    "--series": "seriescolumn itemid uniqueid",
    "--time": "timecolumn date datecolumn timestamp ds",
}
_OPTIMIZER = "danlu train uses AdamW; in Python danlu.fit(…, optimizer='sgd') takes others"
_SCHEDULE = "the recipe has a schedule; in Python danlu.fit takes optimizers with any schedule of danlu.optim"
_ADVICE: Mapping[str, str] = {
    "optimizer": _OPTIMIZER,
    "optim": _OPTIMIZER,
    "momentum": _OPTIMIZER,
    "scheduler": _SCHEDULE,
    "lrscheduler": _SCHEDULE,
    "lrschedulertype": _SCHEDULE,
    "activation": "the recipe chooses; in Python danlu.fit takes any network of danlu.nn",
    "metric": "every measure that fits the task is reported; results.json holds them",
    "metrics": "every measure that fits the task is reported; results.json holds them",
    "model": "the data decides the kind of network; model.width, model.depth and model.members change it",
    "device": "JAX finds GPUs by itself (pip install 'danlu[cuda]'); trainer.devices=2 shares batches among two",
    "gpu": "JAX finds GPUs by itself: pip install 'danlu[cuda]'",
    "cuda": "JAX finds GPUs by itself: pip install 'danlu[cuda]'",
    "numenvs": "type agent.settings.environments=…",
}
_VALUES: Mapping[str, Mapping[str, str]] = {  # values that say the same elsewhere
    "precision": {"fp16": "bfloat16", "bf16": "bfloat16", "mixedprecision": "bfloat16", "amp": "bfloat16"},
    "display": {"quiet": "none", "silent": "none", "verbose": "none"},
}
_OPTIONS = (
    "target",
    "text",
    "test",
    "forecast",
    "translate",
    "horizon",
    "series",
    "time",
    "config",
    "name",
    "runs",
    "display",
    "resume",
)
_ARGUMENTS = ("target", "test", "runs", "name", "display")  # of danlu.train
_STANDS_FOR = {"--horizon": "forecast.horizon", "--forecast": "forecast.columns"}


def _key(name: str) -> str:
    return name.lower().replace("-", "").replace("_", "")


NAMES: Mapping[str, str] = {also: name for name, others in _ALSO.items() for also in others.split()}
"""The setting or option that each name of other tools means."""


def _typed(name: str, value: Any, asked: str, *, python: bool = False) -> str:
    """What to type for ``value`` to be given under the right name."""
    value = _VALUES.get(name.split(".")[-1].strip("-"), {}).get(_key(asked), value)
    if python:
        shown = "…" if value in (None, "") else repr(value)
        section, _, setting = _STANDS_FOR.get(name, name if "." in name else f"data.{name[2:]}").partition(".")
        return f"{name[2:]}={shown}" if name[2:] in _ARGUMENTS else f"{section}={{{setting!r}: {shown}}}"
    text = value if isinstance(value, str) else json.dumps(value, default=str)
    shown = "…" if value in (None, "") else shlex.quote(text)
    return f"{name} {shown}" if name.startswith("--") else f"{name}={shown}"


def answer(name: str, value: Any, settings: Iterable[str], *, python: bool = False) -> str | None:
    """The hint for someone who typed ``name``: what to type (as an argument of ``danlu.train``), or None if nothing is similar.

    >>> answer("num_epochs", 3, ["trainer.epochs"])
    'did you mean trainer.epochs=3?'
    """
    settings = list(settings)
    key = _key(name.split(".")[-1])
    if key in _ADVICE:
        return _ADVICE[key]
    found = [f"--{name}"] if name in _OPTIONS else []
    found = found or [
        each for each in settings if _key(each.split(".")[-1]) == key or _key(each.replace(".", "")) == _key(name)
    ]
    if (
        key in NAMES and NAMES[key] in found
    ):  # what other tools mean by it, where further stages have settings of that name
        found = [NAMES[key]]
    common = [each for each in found if each.startswith("trainer.")]
    found = common if len(common) == 1 else found
    if not found and key in NAMES:
        found = [NAMES[key]]
    if not found:
        lasts = {each.split(".")[-1]: each for each in settings}
        close = nearest(name, settings) if "." in name else nearest(name, lasts, cutoff=0.7)
        found = [] if close is None else [lasts.get(close, close)]
    return (
        f"did you mean {' or '.join(_typed(each, value, name, python=python) for each in found[:4])}?"
        if found
        else None
    )


def unknown_setting(name: str, value: Any, settings: Iterable[str]) -> ConfigError:
    """The error for a setting that does not exist, with the one that was meant.

    >>> print(unknown_setting("lr", 0.01, ["trainer.learning_rate"]))
    unknown setting 'lr'
    Hint: did you mean trainer.learning_rate=0.01?
    """
    settings = list(settings)
    hint = answer(name, value, settings)
    if hint is not None:
        return ConfigError(f"unknown setting {name!r}", hint=hint)
    error = unknown_name("setting", name, settings)
    return ConfigError(error.message, hint=error.hint)
