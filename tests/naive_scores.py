"""Measures of decoding from their definitions, one trial at a time. Slow on purpose."""

from itertools import combinations, pairwise, permutations

import numpy as np


def better(row, clip, columns):
    """Rivals above and level with a clip in one row of similarities."""
    above = [k for k in columns if k != clip and row[k] > row[clip]]
    level = [k for k in columns if k != clip and row[k] == row[clip]]
    return above, level


def identification(row, clip, columns):
    above, level = better(row, clip, columns)
    rivals = len(columns) - 1
    return float("nan") if not rivals else (rivals - len(above) - 0.5 * len(level)) / rivals


def top(row, clip, k):
    """Share of the orders of equals in which the clip is among the first k."""
    above, level = better(row, clip, range(len(row)))
    places = [len(above) + order.index(clip) + 1 for order in permutations([clip, *level])]
    return np.mean([place <= k for place in places])


def n_way(row, clip, n):
    """Every choice of rivals, ties for the first place shared."""
    rivals = [k for k in range(len(row)) if k != clip]
    wins = []
    for chosen in combinations(rivals, n - 1):
        above, level = better(row, clip, [clip, *chosen])
        wins.append(0.0 if above else 1 / (1 + len(level)))
    return np.mean(wins)


def half_reliability(repeats):
    """Spearman-Brown reliability of the mean of all hearings, column by column; repeats are (n, clips, columns)."""
    n = len(repeats)
    half, out = n // 2, []
    for column in range(repeats.shape[2]):
        rs = []
        for first in combinations(range(n), half):
            for second in combinations([r for r in range(n) if r not in first], half):
                means = [repeats[list(part), :, column].mean(axis=0) for part in (first, second)]
                rs.append(np.corrcoef(*means)[0, 1])
        r, f = np.mean(rs), n / half
        out.append(f * r / (1 + (f - 1) * r))
    return np.array(out)


def expected_calibration_error(confidence, correct, edges):
    """Weighted gap over bins (edges[i], edges[i + 1]]."""
    total = 0.0
    for low, high in pairwise(edges):
        inside = [i for i, c in enumerate(confidence) if low < c <= high]
        if inside:
            gap = abs(np.mean([correct[i] for i in inside]) - np.mean([confidence[i] for i in inside]))
            total += len(inside) / len(confidence) * gap
    return total


def false_discovery(p, level):
    """Benjamini and Hochberg's rule, by its words: reject the k smallest, k the largest with p(k) <= k level / m."""
    order = np.argsort(p)
    passed = [k + 1 for k, i in enumerate(order) if p[i] <= (k + 1) * level / len(p)]
    kept = np.zeros(len(p), bool)
    kept[order[:max(passed, default=0)]] = True
    return kept
