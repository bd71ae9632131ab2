"""Data on its way to the network."""

from __future__ import annotations

from mutations.mutation import of

MUTATIONS = [
    *of(
        "data/scaling.py",
        (
            "scaled-by-variance",
            "return mean, 1.0 / deviation, float(middle), False",
            "return mean, 1.0 / deviation**2, float(middle), False",
            "data.numbers",
        ),
        (
            "gaps-take-zero",
            "filled = np.where(np.isnan(values), self.fill[columns], values)",
            "filled = np.where(np.isnan(values), 0.0, values)",
            "data.numbers",
        ),
        (
            "ranks-of-the-low-end",
            "middle = (below + upto) / (2 * len(ordered))",
            "middle = (below + 0.5) / len(ordered)",
            "data.numbers",
        ),
    ),
    *of(
        "data/levels.py",
        ("levels-from-zero", "list(range(1, len(self.levels) + 1))", "list(range(len(self.levels)))", "data.levels"),
        (
            "missing-is-unknown",
            "missing = len(self.levels) + 1 if self.has_missing else 0",
            "missing = 0",
            "data.levels",
        ),
    ),
    *of(
        "data/resample.py",
        (
            "undersampled-to-the-mean",
            "size = min(len(rows) for rows in classes)",
            "size = max(2, min(len(rows) for rows in classes) - 1)",
            "data.resampling",
        ),
    ),
    *of(
        "data/series/windows.py",
        (
            "target-overlaps-context",
            "return self._gather(self.index[rows], 0, self.horizon, slice(self.targets))",
            "return self._gather(self.index[rows], -1, self.horizon, slice(self.targets))",
            "data.windows",
        ),
        (
            "window-into-the-next-part",
            "each.steps if stop is None else stop - each.start) - horizon",
            "each.steps if stop is None else stop - each.start + horizon) - horizon",
            "data.windows",
        ),
    ),
    *of(
        "data/series/encode.py",
        ("scaled-by-all-steps", "max(0, min(each.steps, stop - each.start))", "each.steps", "data.windows"),
    ),
    *of(
        "data/split.py",
        (
            "half-the-groups",
            "size = int(np.clip(round(there * share), 1, there - spare))",
            "size = int(np.clip(round(there * share / 2), 1, there - spare))",
            "data.splits",
        ),
    ),
]
