"""How good an embedding is, each figure beside what shuffled labels give."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from offline_training.embedder.truth import Claims, Truths
from realtime.scoring import identification_accuracy, permutation_band, rank_score

_N_SHUFFLES = 200
_N_NEIGHBOURS = 5


@dataclass(frozen=True)
class Share:
    """A share of right answers.

    Attributes
    ----------
    value : float
        What was measured.
    chance_p50, chance_p95 : float
        Quantiles of the same over shuffled truth.
    n : int
        Pieces, or claims, it is a share of.
    """

    value: float
    chance_p50: float
    chance_p95: float
    n: int


def right_answers(said: NDArray[np.int64], true: NDArray[np.int64], seed: int = 0) -> Share:
    """Share of pieces of which the right thing is said; shape (n,) each."""
    rng = np.random.default_rng(seed)
    shuffled = [float((said == rng.permutation(true)).mean()) for _ in range(_N_SHUFFLES)]
    return _share(float((said == true).mean()), shuffled, len(true))


def like_neighbours(vectors: NDArray[np.float32], labels: NDArray[np.int64], seed: int = 0) -> Share:
    """Share of the five nearest others, by centred cosine, that have a piece's own label.

    Parameters
    ----------
    vectors : float32 array of shape (n, dim)
        More than five.
    labels : int64 array of shape (n,)
        What should agree.
    seed : int
        Of the shuffles.
    """
    unit = _centred_unit(vectors)
    cosines = unit @ unit.T
    np.fill_diagonal(cosines, -np.inf)
    nearest = np.argsort(-cosines, axis=1, kind="stable")[:, :_N_NEIGHBOURS]
    rng = np.random.default_rng(seed)
    shuffled = [float(_agree(rng.permutation(labels), nearest).mean()) for _ in range(_N_SHUFFLES)]
    return _share(float(_agree(labels, nearest).mean()), shuffled, len(labels))


def _agree(labels: NDArray[np.int64], nearest: NDArray[np.int64]) -> NDArray[np.bool_]:
    same: NDArray[np.bool_] = labels[nearest] == labels[:, None]
    return same


@dataclass(frozen=True)
class PieceIdentity:
    """Whether one part of a piece finds the other part of it among all pieces.

    Attributes
    ----------
    accuracy : Share
        Identification accuracy, chance 0.5.
    top1 : float
        Share whose own other part is the nearest of all.
    """

    accuracy: Share
    top1: float


def piece_identity(first: NDArray[np.float32], second: NDArray[np.float32]) -> PieceIdentity:
    """Parts of shape (n, dim) that do not overlap: the first asks, the second answers."""
    names = [str(number) for number in range(len(first))]
    centre = second.mean(axis=0)
    asked, answers = first - centre, second - centre
    score = identification_accuracy(asked, answers, names)
    band = permutation_band(asked, answers, names, n_permutations=1000)
    return PieceIdentity(Share(score.mean, band.p50, band.p95, len(first)), rank_score(asked, answers, names).top1)


@dataclass(frozen=True)
class Search:
    """Words find music and music finds words.

    Attributes
    ----------
    first_hit : Share
        Claims whose best piece fits.
    ten_hits : Share
        Share of the best ten pieces that fit.
    words_for_piece : Share
        Pieces whose best claim is true.
    """

    first_hit: Share
    ten_hits: Share
    words_for_piece: Share


def search(claims: Claims, said: NDArray[np.float32], truths: Truths, heard: NDArray[np.float32],
           seed: int = 0) -> Search:
    """Score the search with claims.

    Parameters
    ----------
    claims : Claims
        n_claims of them; each holds for one piece at least.
    said : float32 array of shape (n_claims, dim)
        Their vectors.
    truths : Truths
        Of n pieces.
    heard : float32 array of shape (n, dim)
        Vectors of the pieces; the search centres both sides by their mean, as a catalogue does.
    seed : int
        Of the shuffles, which give pieces the truth of others.
    """
    centre = heard.mean(axis=0)
    cosines = _unit(said - centre) @ _unit(heard - centre).T
    holds = claims.hold(truths)
    order = np.argsort(-cosines, axis=1, kind="stable")[:, :10]
    best_claim = cosines.argmax(axis=0)
    rng = np.random.default_rng(seed)
    orders = [rng.permutation(len(heard)) for _ in range(_N_SHUFFLES)]

    def share(value: float, shuffled: list[float], n: int) -> Share:
        return _share(value, shuffled, n)

    rows, columns = np.arange(len(said))[:, None], np.arange(len(heard))
    hits = holds[rows, order]
    by_chance = [holds[:, chance][rows, order] for chance in orders]
    return Search(
        share(float(hits[:, 0].mean()), [float(chance[:, 0].mean()) for chance in by_chance], len(said)),
        share(float(hits.mean()), [float(chance.mean()) for chance in by_chance], len(said)),
        share(float(holds[best_claim, columns].mean()),
              [float(holds[best_claim, chance].mean()) for chance in orders], len(heard)))


def _share(value: float, shuffled: list[float], n: int) -> Share:
    p50, p95 = np.percentile(shuffled, (50, 95))
    return Share(round(value, 4), round(float(p50), 4), round(float(p95), 4), n)


def _centred_unit(vectors: NDArray[np.float32]) -> NDArray[np.float32]:
    return _unit(vectors - vectors.mean(axis=0))


def _unit(rows: NDArray[np.float32]) -> NDArray[np.float32]:
    norms = np.linalg.norm(rows, axis=1, keepdims=True)
    return np.asarray(rows / np.where(norms > 0, norms, 1), np.float32)
