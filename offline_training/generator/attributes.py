"""Read-outs of a piece's traits from its embedding, fitted and judged."""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn
from torch.nn import functional

from offline_training.generator.pieces import PieceSet
from realtime.generators.readouts import NUMBERS, Readouts, traits_of

_N_FEATURES = 128
_DROPPED = 0.2
_NOISE = 0.4  # standard deviation of what is added to standardised embeddings
_N_ROUNDS = 150
_BATCH = 256
_RATE = 3e-3
_DECAY = 0.02


@dataclass(frozen=True, eq=False)
class _Truth:
    """What is to be read: classes as numbers, numbers standardised."""

    classes: dict[str, tuple[str, ...]]
    columns: dict[str, torch.Tensor]
    centres: dict[str, float]
    spreads: dict[str, float]


def fit_readouts(pieces: PieceSet, seed: int = 0) -> Readouts:
    """Fit features and read-outs to the pieces, by gradient descent on one thread's few seconds."""
    torch.set_num_threads(1)  # the layers are small: threads would only wait for each other
    torch.manual_seed(seed)
    truth, embeddings = _truth(pieces), pieces.embeddings
    mean, scale = embeddings.mean(axis=0), np.maximum(embeddings.std(axis=0), 1e-6)
    inputs = torch.from_numpy((embeddings - mean) / scale)
    body = nn.Linear(inputs.shape[1], _N_FEATURES)
    heads = nn.ModuleDict({name: nn.Linear(_N_FEATURES, len(known)) for name, known in truth.classes.items()})
    optimiser = torch.optim.AdamW([*body.parameters(), *heads.parameters()], _RATE, weight_decay=_DECAY)
    for _ in range(_N_ROUNDS):
        for rows in torch.split(torch.randperm(len(inputs)), _BATCH):
            seen = torch.relu(body(inputs[rows] + _NOISE * torch.randn(len(rows), inputs.shape[1])))
            seen = functional.dropout(seen, _DROPPED)
            loss = torch.stack([_loss(name, head(seen), truth.columns[name][rows]) for name, head in heads.items()])
            optimiser.zero_grad()
            loss.sum().backward()  # type: ignore[no-untyped-call]
            optimiser.step()
    return _to_readouts(pieces, truth, body, heads)


def _loss(name: str, told: torch.Tensor, truth: torch.Tensor) -> torch.Tensor:
    return functional.mse_loss(told[:, 0], truth) if name in NUMBERS else functional.cross_entropy(told, truth)


def _to_readouts(pieces: PieceSet, truth: _Truth, body: nn.Linear, heads: nn.ModuleDict) -> Readouts:
    embeddings = pieces.embeddings
    weights = {name: _array(head.weight).T * truth.spreads.get(name, 1.0) for name, head in heads.items()}
    biases = {name: _array(head.bias) * truth.spreads.get(name, 1.0) + truth.centres.get(name, 0.0)
              for name, head in heads.items()}
    return Readouts(
        pieces.space, truth.classes, embeddings.mean(axis=0), np.maximum(embeddings.std(axis=0), 1e-6),
        _array(body.weight).T, _array(body.bias), {name: rows.astype(np.float32) for name, rows in weights.items()},
        {name: row.astype(np.float32) for name, row in biases.items()})


def _array(parameter: object) -> NDArray[np.float32]:
    assert isinstance(parameter, torch.Tensor)
    array: NDArray[np.float32] = parameter.detach().numpy()
    return array


def _truth(pieces: PieceSet) -> _Truth:
    classes: dict[str, tuple[str, ...]] = {}
    columns: dict[str, torch.Tensor] = {}
    centres, spreads = {}, {}
    for name, told in _classes(pieces).items():
        classes[name] = tuple(sorted(set(told)))
        columns[name] = torch.tensor([classes[name].index(value) for value in told])
    for name, values in _numbers(pieces).items():
        classes[name], centres[name], spreads[name] = (name,), float(np.mean(values)), float(np.std(values))
        columns[name] = torch.tensor((np.array(values) - centres[name]) / spreads[name], dtype=torch.float32)
    return _Truth(classes, columns, centres, spreads)


def judge_readouts(readouts: Readouts, pieces: PieceSet) -> dict[str, float]:
    """Accuracy of every class, and correlation of every number, on pieces it was not fitted to.

    Classes are told from all known ones, before the styles limit the choice.
    """
    told = [readouts.scores(row) for row in pieces.embeddings]
    figures = {}
    for name, truth in _numbers(pieces).items():
        figures[name] = float(np.corrcoef([scores[name][0] for scores in told], truth)[0, 1])
    for name, classes in _classes(pieces).items():
        best = [readouts.classes[name][int(scores[name].argmax())] for scores in told]
        figures[name] = float(np.mean([one == other for one, other in zip(best, classes, strict=True)]))
    return figures


def _classes(pieces: PieceSet) -> dict[str, list[str]]:
    """Every class of every piece."""
    rows = [traits_of(piece.score.band).classes() for piece in pieces.pieces]
    return {name: [row[name] for row in rows] for name in rows[0]}


def _numbers(pieces: PieceSet) -> dict[str, list[float]]:
    """Every number of every piece."""
    rows = [traits_of(piece.score.band).numbers() for piece in pieces.pieces]
    return {name: [row[name] for row in rows] for name in rows[0]}
