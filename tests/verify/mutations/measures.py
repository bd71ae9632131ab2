"""What is reported."""

from __future__ import annotations

from mutations.mutation import of

MUTATIONS = [
    *of(
        "evaluate/metrics.py",
        (
            "rmse-without-the-root",
            "return math.sqrt(_mean(rows.error**2, weights))",
            "return _mean(rows.error**2, weights)",
            "metric.quantities",
        ),
        (
            "mae-signed",
            "return _mean(np.abs(rows.error), weights)",
            "return abs(_mean(rows.error, weights))",
            "metric.quantities",
        ),
        (
            "balanced-by-all",
            "float((hits[true > 0] / true[true > 0]).mean())",
            "float(hits.sum() / true.sum())",
            "metric.classes",
        ),
        (
            "recall-by-found",
            'each = _divide(hits, found if which == "precision" else true)',
            "each = _divide(hits, found)",
            "metric.classes",
        ),
        (
            "f1-of-the-first-class",
            'float(each[1] if rows.task == "binary"',
            'float(each[0] if rows.task == "binary"',
            "metric.classes",
        ),
        ("gini-of-one-half", "2 * _roc_auc(rows, weights) - 1", "2 * _roc_auc(rows, weights) - 0.5", "metric.classes"),
        ("mcc-unnormalised", "(hits.sum() * n - true @ found) / spread", "(hits.sum() * n) / spread", "metric.classes"),
        (
            "r2-uncentred",
            "spread = _mean(centred**2, weights) - _mean(centred, weights) ** 2",
            "spread = _mean(rows.truth**2, weights)",
            "metric.quantities",
        ),
        (
            "median-unweighted",
            "reached = np.cumsum(weights[order])",
            "reached = np.cumsum(np.ones_like(weights))",
            "metric.quantities",
        ),
        ("top-k-one-more", "(rows.place < most)", "(rows.place <= most)", "metric.classes"),
        (
            "average-precision-of-each-alike",
            "(rows.class_weights(weights)[1] if by_share else np.ones(len(each)))",
            "np.ones(len(each))",
            "metric.classes",
        ),
        (
            "explained-with-the-bias",
            "return _fit(rows, weights, _mean(centred**2, weights) - _mean(centred, weights) ** 2)",
            "return _r2(rows, weights)",
            "metric.quantities",
        ),
        (
            "mape-by-prediction",
            "_mean(np.abs(rows.error) / size, weights)",
            "_mean(np.abs(rows.error) / np.abs(rows.prediction), weights)",
            "metric.quantities",
        ),
    ),
    *of(
        "evaluate/rows.py",
        (
            "threshold-ignored",
            "(self.prediction[:, 1] >= self.threshold)",
            "(self.prediction[:, 1] >= 0.5)",
            "metric.classes",
        ),
        (
            "log-loss-in-bits",
            "return -np.log(np.clip(self.of_truth",
            "return -np.log2(np.clip(self.of_truth",
            "metric.classes",
        ),
        ("brier-of-several", "- 2 * self.of_truth + 1", "- self.of_truth + 1", "metric.classes"),
    ),
    *of(
        "evaluate/alert.py",
        ("a-row-too-many", 'side="right"))  # distinct', 'side="right")) + 1  # distinct', "metric.alert"),
    ),
    *of(
        "evaluate/ranking.py",
        ("ks-of-calls", "(calls - hits) / negatives).max()", "calls / calls[-1]).max()", "metric.classes"),
        (
            "recall-at-the-place",
            "np.interp(share * calls[-1],",
            "np.interp(np.floor(share * calls[-1]) - 1,",
            "metric.alert",
        ),
        (
            "ties-count-nothing",
            "before = (before + passed[self._reached]) / 2",
            "before = passed[self._reached]",
            "metric.classes",
        ),
        (
            "average-precision-at-place",
            "ordered * self.positive)[self._end], np.cumsum(ordered)[self._end]",
            "ordered * self.positive)[np.flatnonzero(self.positive)], np.cumsum(ordered)[np.flatnonzero(self.positive)]",
            "metric.classes",
        ),
    ),
    *of(
        "evaluate/labels.py",
        (
            "macro-is-micro",
            '"macro_f1": lambda rows, by: _mean(rows.f1(by))',
            '"macro_f1": lambda rows, by: _micro_f1(rows, by)',
            "metric.labels",
        ),
    ),
    *of(
        "evaluate/segmentation.py",
        (
            "union-counts-twice",
            "        union = true + found - hits\n",
            "        union = true + found\n",
            "metric.segmentation",
        ),
    ),
    *of(
        "evaluate/quantiles.py",
        (
            "pinball-levels-turned",
            "np.maximum(at * above, (at - 1) * above)",
            "np.maximum((1 - at) * above, -at * above)",
            "metric.forecasts metric.quantiles",
        ),
        ("crps-of-equal-levels", "np.diff(borders)", "np.ones(len(at)) / len(at)", "metric.quantiles"),
    ),
    *of(
        "evaluate/decomposition.py",
        ("bins-without-gaps", "probability, happened - probability", "probability, 1.0 * happened", "metric.classes"),
        (
            "reliability-unweighted",
            "return _over_root(sums[1], sums[0])",
            "return np.asarray(sums[1])",
            "metric.classes",
        ),
        ("resolution-from-a-half", "share * observed.sum(axis=-1, keepdims=True)", "share / 2", "metric.classes"),
        (
            "parts-that-do-not-add-up",
            "brier - lost + gained - uncertainty",
            "brier - lost - gained",
            "metric.decomposition",
        ),
    ),
    *of(
        "evaluate/gaps.py",
        ("gap-from-the-value", "low, high = solved(1 - tail)", "low, high = solved(0.5)", "metric.gap_interval"),
        (
            "noise-not-from-the-least",
            "np.sqrt(np.maximum(least - ",
            "0 * np.sqrt(np.maximum(least - ",
            "metric.gap_interval",
        ),
    ),
    *of(
        "evaluate/folds.py",
        ("folds-independent", "math.sqrt(1 / count + ratio)", "math.sqrt(1 / count)", "metric.fold_interval"),
        ("repeats-are-other-rows", "min(count - 1, max(2 / ratio, 1.0))", "count - 1", "metric.fold_interval"),
    ),
    *of(
        "evaluate/detection.py",
        ("object-found-twice", "free[:, best] = -1", "pass", "metric.average_precision_of_boxes metric.boxes"),
    ),
    *of(
        "evaluate/following.py",
        (
            "interval-follows-the-future",
            "np.searchsorted(moments, moment - ahead, side=",
            "np.searchsorted(moments, moment + 0 * ahead, side=",
            "forecast.followed_intervals",
        ),
        (
            "interval-follows-backwards",
            "(missed - (1 - level))",
            "((1 - level) - missed)",
            "forecast.followed_intervals",
        ),
    ),
    *of(
        "evaluate/forecast.py",
        ("smape-halved", "return 200 * np.abs(error)", "return 100 * np.abs(error)", "metric.forecasts"),
        (
            "mase-without-season",
            "np.abs(values[season:] - values[:-season])",
            "np.abs(values[1:] - values[:-1])",
            "metric.forecasts",
        ),
    ),
    *of(
        "evaluate/intervals.py",
        (
            "interval-of-half",
            "names: Sequence[str] | None = None, *, level: float = 0.95",
            "names: Sequence[str] | None = None, *, level: float = 0.5",
            "metric.intervals metric.coverage",
        ),
        (
            "variance-of-the-parts",
            "return float((len(without) - 1) * without.var())",
            "return float(without.var())",
            "metric.intervals metric.coverage",
        ),
        (
            "no-row-worse",
            "above, spread, tail = value + guards * worst,",
            "above, spread, tail = value,",
            "metric.intervals",
        ),
        (
            "perfect-is-certain",
            " + (0.5 * support + 0.25) / (support * (support + 1) ** 2)",
            " + 1e-9",
            "metric.intervals",
        ),
        ("normal-for-student", "stdtrit(max(min(count, support) - 1, 1),", "stdtrit(1e9,", "metric.intervals"),
    ),
    *of(
        "evaluate/tokens.py",
        ("perplexity-base-two", "math.exp(min(value, 700.0))", "2 ** min(value, 700.0)", "metric.tokens"),
        (
            "mean-of-means",
            "float(by @ self.sums / (by @ self.counts))",
            "float(by @ (self.sums / self.counts) / by.sum())",
            "metric.tokens",
        ),
    ),
    *of(
        "evaluate/threshold.py",
        (
            "calibration-unweighted",
            "(np.abs(observed - predicted) * count[used]).sum() / len(positive)",
            "np.abs(observed - predicted).mean()",
            "metric.threshold",
        ),
    ),
    *of(
        "evaluate/reliability.py",
        (
            "trimmed-by-a-third",
            "cut = flat.shape[-1] // 4",
            "cut = flat.shape[-1] // 3",
            "metric.runs rl.run_statistics",
        ),
    ),
    *of(
        "evaluate/bleu.py",
        ("no-brevity-penalty", "brevity = min(0.0, 1 - theirs / ours)", "brevity = 0.0", "metric.bleu"),
    ),
    *of(
        "nn/losses/metrics.py",
        (
            "members-mean-of-losses",
            "values = -jnp.sum(jnp.where(y > 0, y * _log_mean(log_softmax(z), axes), 0), axis=-1)",
            "values = -jnp.sum(jnp.where(y > 0, y * jnp.mean(log_softmax(z), axis=axes), 0), axis=-1)",
            "metric.watched",
        ),
        (
            "squared-error-of-members",
            "return per_example(jnp.square(_error(",
            "return per_example(jnp.abs(_error(",
            "metric.watched",
        ),
    ),
    *of(
        "evaluate/metrics.py",
        ("absent-classes-count", "each[(true + found) > 0].mean())", "each.mean())", "metric.absent_classes"),
        ("share-of-a-negative", "size = np.abs(rows.truth)\n", "size = rows.truth\n", "metric.quantities"),
        (
            "areas-over-all-classes",
            "return sum(each) / len(each) if each else _NAN",
            "return sum(each) / len(rows.rankings) if each else _NAN",
            "metric.absent_classes",
        ),
    ),
    *of(
        "evaluate/ranking.py",
        ("one-class-is-perfect", " or not (weights[self._negatives] > 0).any()", "", "metric.absent_classes"),
    ),
    *of(
        "evaluate/compare.py",
        (
            "verdict-turned",
            "better = raw if measure.higher_is_better else",
            "better = raw if not measure.higher_is_better else",
            "metric.verdicts",
        ),
        (
            "verdict-by-the-value",
            '"better" if better.low > 0 else',
            '"better" if better.value > 0 else',
            "metric.verdicts",
        ),
    ),
    *of(
        "evaluate/importance.py",
        (
            "importance-unturned",
            "sign, found = 1.0 if MEASURES[metric].higher_is_better else -1.0, []",
            "sign, found = 1.0, []",
            "metric.importance",
        ),
    ),
    *of(
        "evaluate/rows.py",
        (
            "groups-forgotten",
            "prediction, threshold, self.groups, self.costs",
            "prediction, threshold, None, self.costs",
            "metric.grouped_rows",
        ),
        ("support-by-rows", "rows * len(np.unique(self.groups)) / len(self)", "rows", "metric.grouped_rows"),
    ),
    *of(
        "evaluate/forecast.py",
        (
            "naive-repeats-the-last",
            "past.shape[1] - season + np.arange(horizon) % season",
            "past.shape[1] - 1 + 0 * np.arange(horizon)",
            "metric.windows_together",
        ),
        (
            "windows-are-independent",
            "return np.asarray(place * stretches // len(moments))",
            "return np.arange(len(self))",
            "metric.windows_together",
        ),
    ),
    *of(
        "tasks/fair.py",
        ("weights-upside-down", "np.divide(expected, counts", "np.divide(counts, expected", "data.reweighing"),
    ),
    *of("nn/attack.py", ("slope-without-its-sign", "jnp.sign(gradient)", "gradient", "explain.worst_change")),
    *of(
        "tasks/penalty.py",
        ("gap-not-squared", "jnp.square(mean - whole[None])", "jnp.abs(mean - whole[None])", "loss.group_gap"),
    ),
    *of(
        "evaluate/group_thresholds.py",
        ("any-gap-allowed", "right[None] - 1e6 * off", "right[None]", "metric.group_thresholds"),
    ),
    *of("engine/adversarial.py", ("never-attacked", "if not train:", "if True:", "objective.adversarial")),
]
