"""How the selection follows a decoder: isotropic errors, and those that a ridge really makes on noisy responses.

A clip of another genre begins every 30 s, TR 1.5 s. The policy gets what the live program gives it: the posterior of
the trial's running mean, its scale fitted on other trials. Errors are remembered from volume to volume (0.6).
Ridge: a person's voxels respond linearly to the embedding; their noise is set so that single volumes decode with the
cosine wanted. The ridge is trained on whole trials of other clips, so that its shrinkage, the correlations of its
errors and their dependence on what was heard are those of a ridge and not a model of them.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from offline_training.calibration import estimate_reliability
from offline_training.fit import fit_decoder
from offline_training.fit_settings import FitSettings
from offline_training.linear_map import LinearMap
from offline_training.responses import ResponseRun, Responses
from realtime.decoding.posterior import posterior
from realtime.music.catalogue import Catalogue
from realtime.music.selection import SelectionSettings, SelectionState, look, select
from realtime.reliability import Reliability
from realtime.session.events import Event

TR_S, PER_TRIAL = 1.5, 20
MEMORY = 0.6
N_VOXELS = 600
WINDOW = 7  # volumes that a training trial is averaged over: ten seconds
_SURE = 100.0
Floats = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Streams:
    """What is decoded.

    Attributes
    ----------
    embeddings : float64 array of shape (n_targets, PER_TRIAL, dim)
        Of single volumes, centred.
    targets : intp array of shape (n_targets,)
        Rows of the corpus.
    reliability : Reliability
        Of the evidence, per number of volumes, from other trials.
    cosine : float
        Mean of single volumes to what was heard.
    all_known : float64 array of shape (n_targets, PER_TRIAL, n_clips) or None
        Log likelihood of each clip for who knows every voxel's response and noise: no decoder and policy do better.
    vectors_known : float64 array of the same shape or None
        The same for who sees the decoded vectors alone, and knows what each clip does to them and their noise: no
        policy on this decoder does better.
    """

    embeddings: Floats
    targets: NDArray[np.intp]
    reliability: Reliability
    cosine: float
    all_known: Floats | None = None
    vectors_known: Floats | None = None


@dataclass(frozen=True)
class Flicker:
    """How often the music changed, and what share of the time it was of the right genre."""

    switches_per_minute: float
    right_genre: float


def isotropic(corpus: Catalogue, cosine: float, n_targets: int, seed: int, n_training: int = 400) -> Streams:
    """The truth and errors of one size in all directions; the scale is fitted on as many other trials as a ridge's."""
    rng = np.random.default_rng(seed)
    unit = corpus.unit.astype(np.float64)

    def drawn(targets: NDArray[np.intp]) -> tuple[Floats, float]:
        errors = _remembered(rng.standard_normal((len(targets), PER_TRIAL, unit.shape[1])))
        size = _size(unit[targets], errors, cosine)
        return unit[targets][:, None] + size * errors, size

    others = _targets(corpus, np.arange(len(unit)), n_training, rng)
    reliability = _reliability(unit, np.swapaxes(_running_means(drawn(others)[0]), 0, 1), others)
    targets = _targets(corpus, np.arange(len(unit)), n_targets, rng)
    embeddings, size = drawn(targets)
    return Streams(embeddings, targets, reliability, _mean_cosine(unit[targets], embeddings),
                   vectors_known=_log_likelihoods(unit / size, embeddings / size))


def ridge_streams(corpus: Catalogue, cosine: float, n_targets: int, seeds: range, n_training: int = 400
                  ) -> list[Streams]:
    """One person, as noisy as it takes; a list of streams of held-out clips, one per seed."""
    centred = np.stack([corpus.embedding(clip.clip_id) for clip in corpus.clips]).astype(np.float64) - corpus.centre
    low, high = 0.02, 1.0
    for _ in range(8):
        middle = float(np.sqrt(low * high))
        trained = _ridge(corpus, centred, middle, n_training)
        found = float(np.mean([trained.stream(n_targets, 10_000 + k).cosine for k in range(4)]))
        low, high = (middle, high) if found < cosine else (low, middle)
    trained = _ridge(corpus, centred, float(np.sqrt(low * high)), n_training)
    return [trained.stream(n_targets, seed) for seed in seeds]


@dataclass(frozen=True, eq=False)
class _Trained:
    corpus: Catalogue
    centred: Floats
    clean: Floats
    held_out: NDArray[np.intp]
    decoder: LinearMap
    reliability: Reliability

    def stream(self, n_targets: int, seed: int) -> Streams:
        rng = np.random.default_rng(seed)
        targets = _targets(self.corpus, self.held_out, n_targets, rng)
        responses = self.clean[targets][:, None] + _remembered(
            rng.standard_normal((n_targets, PER_TRIAL, self.clean.shape[1])))
        said = self.decoder.predict(responses.reshape(-1, responses.shape[2]))
        embeddings = said.reshape(n_targets, PER_TRIAL, -1)
        seen = self._seen()
        return Streams(embeddings, targets, self.reliability, _mean_cosine(self.centred[targets], embeddings),
                       _log_likelihoods(self.clean, responses), _log_likelihoods(self.clean @ seen, responses @ seen))

    def _seen(self) -> Floats:
        """Voxels (n_voxels, k) to what the decoder sees of them, its noise of unit variance and uncorrelated."""
        zero = np.zeros((1, self.clean.shape[1]))
        through = self.decoder.predict(np.eye(self.clean.shape[1])) - self.decoder.predict(zero)
        left, sizes, _ = np.linalg.svd(through, full_matrices=False)
        seen: Floats = left[:, sizes > 1e-9 * sizes[0]]
        return seen


def _ridge(corpus: Catalogue, centred: Floats, signal: float, n_training: int) -> _Trained:
    rng = np.random.default_rng(0)
    order = rng.permutation(len(centred))
    training, held_out = order[:n_training], order[n_training:]
    clean = centred @ rng.standard_normal((centred.shape[1], N_VOXELS))
    clean *= signal / clean.std()
    responses = clean[training][:, None] + _remembered(rng.standard_normal((n_training, PER_TRIAL, N_VOXELS)))
    runs = tuple(str(6 * k // n_training) for k in range(n_training))
    fit = fit_decoder(_session(corpus, responses, training), lambda clip: centred[corpus.row(clip)],
                      FitSettings(n_regions=(0,), lags_s=(0.0,), windows_s=(WINDOW * TR_S,)))
    means = _running_means(responses)
    runs = [str(6 * k // n_training) for k in range(n_training)]
    said = np.stack([fit.folds[run].decoder.predict(rows) for run, rows in zip(runs, means, strict=True)], axis=1)
    return _Trained(corpus, centred, clean, held_out, fit.decoder, _reliability(centred, said, training))


def _session(corpus: Catalogue, responses: Floats, rows: NDArray[np.intp]) -> Responses:
    """Six runs of trials (n, PER_TRIAL, n_voxels), back to back."""
    made = []
    for run in range(6):
        own = [k for k in range(len(rows)) if 6 * k // len(rows) == run]
        events = tuple(Event(place * PER_TRIAL * TR_S, PER_TRIAL * TR_S, corpus.clips[rows[k]].clip_id)
                       for place, k in enumerate(own))
        volumes = responses[own].reshape(-1, responses.shape[2]).astype(np.float32)
        made.append(ResponseRun(str(run), 0, False, volumes, np.ones(len(volumes), bool), events,
                                np.zeros(len(volumes))))
    return Responses("", TR_S, tuple(made), np.zeros(responses.shape[2], np.intp), ("all",))


def follow(corpus: Catalogue, streams: Streams, settings: SelectionSettings) -> Flicker:
    """The live policy on these streams."""
    state, n_switches, n_right, volume = SelectionState(), 0, 0, 0
    music = np.stack([corpus.embedding(clip.clip_id) for clip in corpus.clips]) - corpus.centre
    known = corpus.unit if streams.all_known is None else music
    for row, embeddings in zip(streams.targets, _running_means(streams.embeddings), strict=True):
        for n, embedding in enumerate(embeddings.astype(np.float32), start=1):
            odds = streams.reliability.log_odds(embedding, known, n)
            belief = posterior(odds, odds, corpus.clips)
            playing = corpus.clip(state.playing) if state.playing else None
            decision = select(state, look(belief, playing, ()), _SURE, volume, TR_S, settings)
            n_switches += decision.kind == "switch"
            state, volume = decision.state, volume + 1
            n_right += corpus.clip(state.playing).genre == corpus.clips[row].genre
    return Flicker(n_switches / (volume * TR_S / 60), n_right / volume)


def ceiling(corpus: Catalogue, targets: NDArray[np.intp], logs: Floats | None) -> Flicker:
    """The likeliest genre at every volume of these targets, by log likelihoods of what is known."""
    assert logs is not None
    genres = np.array([clip.genre for clip in corpus.clips])
    names, of_clip = np.unique(genres, return_inverse=True)
    member = np.eye(len(names))[of_clip]
    chosen = names[(np.exp(logs - logs.max(axis=2, keepdims=True)) @ member).argmax(axis=2)]
    right = chosen == genres[targets][:, None]
    flat = chosen.ravel()
    return Flicker(float((flat[1:] != flat[:-1]).sum() / (len(flat) * TR_S / 60)), float(right.mean()))


def _log_likelihoods(clean: Floats, responses: Floats) -> Floats:
    """Log likelihoods under the true responses and the true noise, whose innovations are independent."""
    fresh = responses.copy()
    fresh[:, 1:] -= MEMORY * responses[:, :-1]
    share = np.full(PER_TRIAL, 1.0 - MEMORY)
    share[0] = 1.0
    variance = np.full(PER_TRIAL, 1.0 - MEMORY**2)
    variance[0] = 1.0
    logs = (share / variance)[None, :, None] * (fresh @ clean.T)
    logs -= 0.5 * (share**2 / variance)[None, :, None] * (clean**2).sum(axis=1)
    total: Floats = np.cumsum(logs, axis=1)
    return total


def _targets(corpus: Catalogue, rows: NDArray[np.intp], n: int, rng: np.random.Generator) -> NDArray[np.intp]:
    """Rows of clips, each of another genre than the one before."""
    chosen = [int(rng.choice(rows))]
    while len(chosen) < n:
        row = int(rng.choice(rows))
        if corpus.clips[row].genre != corpus.clips[chosen[-1]].genre:
            chosen.append(row)
    return np.array(chosen)


def _remembered(fresh: Floats) -> Floats:
    for k in range(1, fresh.shape[1]):
        fresh[:, k] = MEMORY * fresh[:, k - 1] + np.sqrt(1.0 - MEMORY**2) * fresh[:, k]
    return fresh


def _running_means(rows: Floats) -> Floats:
    means: Floats = np.cumsum(rows, axis=1) / np.arange(1, rows.shape[1] + 1)[None, :, None]
    return means


def _unit(rows: Floats) -> Floats:
    unit: Floats = rows / np.linalg.norm(rows, axis=-1, keepdims=True)
    return unit


def _reliability(music: Floats, said: Floats, true_rows: NDArray[np.intp]) -> Reliability:
    """Of predictions (PER_TRIAL, n, dim), after 1, 2 ... volumes; six folds of trials."""
    fold = 6 * np.arange(len(true_rows)) // len(true_rows)
    return estimate_reliability(said, music[true_rows], [str(row) for row in true_rows], [str(k) for k in fold], fold)


def _mean_cosine(true: Floats, said: Floats) -> float:
    return float((_unit(true)[:, None] * _unit(said)).sum(axis=2).mean())


def _size(true: Floats, errors: Floats, cosine: float) -> float:
    """The size of errors at which the mean cosine is as wanted, by halving."""
    low, high = 0.0, 1.0
    while _mean_cosine(true, true[:, None] + high * errors) > cosine:
        high *= 2
    for _ in range(40):
        middle = 0.5 * (low + high)
        low, high = (middle, high) if _mean_cosine(true, true[:, None] + middle * errors) > cosine else (low, middle)
    return high
