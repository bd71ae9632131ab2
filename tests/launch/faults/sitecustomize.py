"""Faults in a process of its own, by environment variables: Python imports this first where its folder is on the path.

``FAULT_SAVE`` is how many seconds pass between checkpoints. ``FAULT_HANG`` is ``RANK:WORD:FILE``: that process stands still for ever before
its so many-th agreement with the others, once: unless the file is there. ``FAULT_VERSION`` is ``RANK:VERSION`` of danlu.
"""

import os
import pathlib
import time

if "DANLU_LAUNCH_PIPE" in os.environ:
    rank = os.environ["DANLU_RANK"]
    if save := os.environ.get("FAULT_SAVE"):
        from danlu.engine.training import Training

        begin = Training.__init__

        def often(self, *given, options, **how):
            begin(self, *given, options=options.replace(checkpoint_every=float(save)), **how)

        Training.__init__ = often  # type: ignore[method-assign]
    if hang := os.environ.get("FAULT_HANG"):
        whose, word, file = hang.split(":")
        if whose == rank:
            from danlu import processes

            agree = processes.agree

            def still(value):
                if processes.spoken() == int(word) and not pathlib.Path(file).exists():
                    pathlib.Path(file).touch()
                    time.sleep(10_000)
                return agree(value)

            processes.agree = still
    if version := os.environ.get("FAULT_VERSION"):
        whose, told = version.split(":")
        if whose == rank:
            import danlu

            danlu.__version__ = told
