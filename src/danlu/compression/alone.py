"""A program of its own that answers rows with a model and prints the most memory that it took; see :mod:`danlu.compression.fresh`.

It is run by its path, so that with onnxruntime nothing of danlu is loaded: ``python alone.py ENGINE MODEL ROWS``.
"""

import sys


def peak() -> int:
    """Bytes at the most that this process had.

    The kernel's ``VmHWM`` counts this process alone; the maximum of the resource module begins with that of the process that started it.
    """
    try:
        with open("/proc/self/status") as status:
            lines = dict(line.split(":", 1) for line in status if ":" in line)
        return int(lines["VmHWM"].split()[0]) * 1024
    except (OSError, KeyError):
        import resource

        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def answer(engine: str, model: str, rows: str) -> None:
    """Load the model and answer the rows once."""
    import numpy as np

    kept = np.load(rows)
    if engine == "danlu":
        from danlu.compression.fresh import unpacked
        from danlu.pipeline import load_model

        load_model(model).outputs(unpacked(kept))
        return
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    given = {name: kept[name] for name in kept.files}
    session.run(None, {name: each.astype(object) if each.dtype.kind == "U" else each for name, each in given.items()})


if __name__ == "__main__":
    del sys.path[0]  # the folder of this file, whose modules have names that others have too
    answer(*sys.argv[1:])
    print(peak())
