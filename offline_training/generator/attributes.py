"""Read-outs of a piece's traits from its embedding, fitted and judged."""

import numpy as np

from offline_training.generator.pieces import PieceSet
from realtime.generators.readouts import NUMBERS, Readouts, traits_of

_PENALTY = 1e-3  # of the number of pieces; a thousandth: there are many more pieces than dimensions


def fit_readouts(pieces: PieceSet) -> Readouts:
    """Ridge regression of every trait, one-hot, on the standardised embeddings."""
    embeddings = pieces.embeddings.astype(np.float64)
    mean, scale = embeddings.mean(axis=0), np.maximum(embeddings.std(axis=0), 1e-6)
    standard = (embeddings - mean) / scale
    gram = standard.T @ standard + _PENALTY * len(standard) * np.eye(standard.shape[1])
    solve = np.linalg.solve(gram, standard.T)
    classes: dict[str, tuple[str, ...]] = {name: (name,) for name in NUMBERS}
    truths = {name: np.array(column)[:, None] for name, column in _numbers(pieces).items()}
    for name, told in _classes(pieces).items():
        classes[name] = tuple(sorted(set(told)))
        truths[name] = np.array([[float(value == known) for known in classes[name]] for value in told])
    weights = {name: (solve @ (truth - truth.mean(axis=0))).astype(np.float32) for name, truth in truths.items()}
    biases = {name: truth.mean(axis=0).astype(np.float32) for name, truth in truths.items()}
    return Readouts(pieces.space, classes, mean.astype(np.float32), scale.astype(np.float32), weights, biases)


def judge_readouts(readouts: Readouts, pieces: PieceSet) -> dict[str, float]:
    """Accuracy of every class, and correlation of every number, on pieces it was not fitted to.

    Classes are told from all known ones, before the styles limit the choice.
    """
    figures = {}
    for name, column in _numbers(pieces).items():
        read = [readouts.scores(name, row)[0] for row in pieces.embeddings]
        figures[name] = float(np.corrcoef(read, column)[0, 1])
    for name, told in _classes(pieces).items():
        known = readouts.classes[name]
        best = [known[int(readouts.scores(name, row).argmax())] for row in pieces.embeddings]
        figures[name] = float(np.mean([one == other for one, other in zip(best, told, strict=True)]))
    return figures


def _classes(pieces: PieceSet) -> dict[str, list[str]]:
    """Every class of every piece."""
    rows = [traits_of(piece.score.band).classes() for piece in pieces.pieces]
    return {name: [row[name] for row in rows] for name in rows[0]}


def _numbers(pieces: PieceSet) -> dict[str, list[float]]:
    """Every number of every piece."""
    rows = [traits_of(piece.score.band).numbers() for piece in pieces.pieces]
    return {name: [row[name] for row in rows] for name in rows[0]}
