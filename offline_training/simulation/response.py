"""What music evokes in the voxels of a simulated person."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from offline_training.simulation.anatomy import Head
from offline_training.simulation.order import RunPlan
from offline_training.simulation.settings import SimulationSettings, SubjectSettings

_STEP_S = 0.5
_WITHIN_CLIP = 0.1  # share of a feature's variance that changes during the clip
_LARGEST_FRACTION = 0.5
_TUNING_FWHM_VOXELS = 2.0
_N_DELAYS = 9
_ADAPTATION_S = 3.0  # after which the transient at a clip's onset has fallen to a third
_FADE_S = 2.0        # ds003720 fades every clip in and out
_COMPRESSION = 0.3   # loudness grows with about this power of the intensity (Stevens 1957), the response no faster


@dataclass(frozen=True, eq=False)
class Tuning:
    """How auditory voxels respond.

    Attributes
    ----------
    weights : float32 array of shape (n_sessions, n_auditory, n_features)
        Relative signal change per unit of a feature, for a feature that lasts.
    peak_s : float64 array of shape (n_auditory,)
        Time to peak of the haemodynamic response.
    fraction : float64 array of shape (n_auditory,)
        Share of the variance over the session that music explains (before movement).
    """

    weights: NDArray[np.float32]
    peak_s: NDArray[np.float64]
    fraction: NDArray[np.float64]


def clip_features(embeddings: NDArray[np.float32], training: NDArray[np.bool_],
                  subject: SubjectSettings) -> NDArray[np.float64]:
    """What the brain hears in each clip.

    Parameters
    ----------
    embeddings : float32 array of shape (n_clips, dim)
        Of the corpus.
    training : bool array of shape (n_clips,)
        The clips that principal components are taken from.
    subject : SubjectSettings
        Numbers of components and of other features.

    Returns
    -------
    features : float64 array of shape (n_clips, n_components + n_other_features + 1, 2)
        Level of a feature, and how much it changes during the clip. First the components of the embedding,
        then features that are random with respect to it, all of unit variance; last, that there is sound at all.
    """
    rng = np.random.default_rng([subject.seed, 3])
    centred = embeddings.astype(np.float64) - embeddings[training].mean(axis=0)
    _, _, axes = np.linalg.svd(centred[training], full_matrices=False)
    axes *= np.sign(axes[np.arange(len(axes)), np.abs(axes).argmax(axis=1)])[:, None]
    components = centred @ axes[: subject.n_components].T
    components /= components[training].std(axis=0)
    other = rng.standard_normal((len(embeddings), subject.n_other_features))
    level = np.concatenate([components, other], axis=1)
    varying = np.stack([level, rng.standard_normal(level.shape)], axis=-1)
    return np.concatenate([varying, np.tile([[[1.0, 0.0]]], (len(level), 1, 1))], axis=1)


def tune(head: Head, plans: tuple[RunPlan, ...], features: NDArray[np.float64],
         settings: SimulationSettings) -> Tuning:
    """Draw the tuning of every auditory voxel, scaled so that it explains the wanted share of variance.

    `features` are those of `clip_features`, of shape (n_clips, n_features, 2).
    """
    subject = settings.subject
    rng = np.random.default_rng([subject.seed, 4])
    n, n_varying = len(head.auditory), features.shape[1] - 1
    parts = _parts(n_varying, subject)
    maps = _smooth_maps(rng, head, n_varying)
    peak_s = np.clip(rng.normal(subject.hrf_peak_s, subject.hrf_peak_sd_s, n), 2.5, 8.0)
    mean_response = np.concatenate([_evoked(plan, features, settings, subject.hrf_peak_s, 0.0) for plan in plans])
    covariance = np.atleast_2d(np.cov(mean_response.T))
    fraction = np.minimum(rng.exponential(1.0, n) * subject.stimulus_fraction, _LARGEST_FRACTION)
    level = head.noise_level.reshape(-1)[head.auditory]
    amplitude = 0.01 * subject.noise_percent * level * np.sqrt(fraction / (1 - fraction))
    sound = np.sqrt(subject.sound_response / max(covariance[-1, -1], 1e-12)) * np.ones((n, 1))
    weights = np.empty((settings.n_sessions, n, features.shape[1]), np.float32)
    for session in range(settings.n_sessions):
        own = _smooth_maps(np.random.default_rng([subject.seed, 9, session]), head, n_varying)
        mixed = np.sqrt(1 - subject.session_change) * maps + np.sqrt(subject.session_change) * own
        for part, share in parts:
            mixed[:, part] *= _falling(part, subject)
            variance = np.einsum("vi,ij,vj->v", mixed[:, part], covariance[part, part], mixed[:, part])
            mixed[:, part] *= np.sqrt(share / variance)[:, None]
        weights[session] = np.concatenate([mixed, sound], axis=1) * amplitude[:, None]
    return Tuning(weights, peak_s, fraction)


def _parts(n_varying: int, subject: SubjectSettings) -> tuple[tuple[slice, float], ...]:
    """Columns of the embedding's components and of the other features, with their shares of the variance."""
    n_components = n_varying - subject.n_other_features
    return ((slice(0, n_components), 1 - subject.unexplained), (slice(n_components, n_varying), subject.unexplained))


def _falling(part: slice, subject: SubjectSettings) -> NDArray[np.float64]:
    """Relative sensitivity to the features of a part: the first components of the embedding count most."""
    n = part.stop - part.start
    return np.arange(1, n + 1) ** -0.5 if part.start == 0 else np.ones(n)


def evoked_signal(
    plan: RunPlan, features: NDArray[np.float64], tuning: Tuning, slice_s: NDArray[np.float64],
    settings: SimulationSettings,
) -> NDArray[np.float32]:
    """Relative signal change of every auditory voxel at every volume of a run.

    Parameters
    ----------
    plan : RunPlan
        What was heard.
    features : float64 array of shape (n_clips, n_features, 2)
        Of `clip_features`.
    tuning : Tuning
        Of the voxels.
    slice_s : float64 array of shape (n_auditory,)
        When a voxel's slice is acquired within the TR.
    settings : SimulationSettings
        Timing.

    Returns
    -------
    signal : float32 array of shape (n_volumes, n_auditory)
    """
    def of(peak_s: float, at_s: float) -> NDArray[np.float64]:
        return _evoked(plan, features, settings, peak_s, at_s)

    return by_delay(of, tuning.weights[plan.session], tuning.peak_s, slice_s)


def by_delay(evoked: Callable[[float, float], NDArray[np.float64]], weights: NDArray[np.float32],
             peak_s: NDArray[np.float64], slice_s: NDArray[np.float64]) -> NDArray[np.float32]:
    """Signal of every voxel, shape (n_volumes, n_auditory); those with nearly the same delay share one, to 0.2 s.

    Parameters
    ----------
    evoked : callable
        Features after the haemodynamic response, (n_volumes, n_features), for a peak and a slice's time.
    weights : float32 array of shape (n_auditory, n_features)
        Of the voxels.
    peak_s, slice_s : float64 arrays of shape (n_auditory,)
        Their time to peak, and when their slice is acquired within the TR.
    """
    shift = peak_s - slice_s  # sampling later and responding earlier are nearly the same
    edges = np.linspace(shift.min(), shift.max() + 1e-9, _N_DELAYS + 1)
    bins = np.digitize(shift, edges[1:-1])
    parts = {int(index): evoked(float(peak_s[bins == index].mean()), float(slice_s[bins == index].mean()))
             for index in np.unique(bins)}
    signal = np.zeros((len(next(iter(parts.values()))), len(shift)), np.float32)
    for index, part in parts.items():
        signal[:, bins == index] = part.astype(np.float32) @ weights[bins == index].T
    return signal


def _evoked(
    plan: RunPlan, features: NDArray[np.float64], settings: SimulationSettings, peak_s: float, slice_s: float
) -> NDArray[np.float64]:
    """Features of a run after the haemodynamic response, shape (n_volumes, n_features)."""
    per_clip = round(settings.clip_s / _STEP_S)
    at_s = (np.arange(per_clip) + 0.5) * settings.clip_s / per_clip
    change = np.sqrt(2.0) * np.cos(np.pi * at_s / settings.clip_s)
    heard = features[list(plan.clips)]
    course = (np.sqrt(1 - _WITHIN_CLIP) * heard[:, None, :, 0]
              + np.sqrt(_WITHIN_CLIP) * change[:, None] * heard[:, None, :, 1])
    course = (course * _drive(at_s, settings)[:, None]).reshape(-1, features.shape[1])
    volume_s = np.arange(settings.n_volumes(len(plan.clips)), dtype=np.float64) * settings.scanner.tr_s + slice_s
    return responded(course, settings.clip_s / per_clip, volume_s, peak_s)


def responded(course: NDArray[np.float64], step_s: float, volume_s: NDArray[np.float64],
              peak_s: float) -> NDArray[np.float64]:
    """A course of features in steps of `step_s`, after the haemodynamic response, at the times of volumes."""
    since_s = volume_s[:, None] - (np.arange(len(course)) + 0.5) * step_s
    grid_s = np.arange(0.0, 32.0, 0.02)
    kernel = np.interp(since_s, grid_s, haemodynamic_response(grid_s, peak_s), left=0.0, right=0.0)
    return np.asarray(kernel @ course, np.float64)


def _drive(at_s: NDArray[np.float64], settings: SimulationSettings) -> NDArray[np.float64]:
    """How strongly a clip drives the voxels at `at_s` after its onset; mean square 1.

    The clip fades in and out, and the response to it is stronger at first. Without a transient it is constant.
    """
    transient = settings.subject.onset_transient
    if transient == 0.0:
        return np.ones_like(at_s)
    fades = np.clip(np.minimum(at_s, settings.clip_s - at_s) / _FADE_S, 0.0, 1.0) ** _COMPRESSION
    drive = fades * (1.0 + transient * np.exp(-at_s / _ADAPTATION_S))
    return np.asarray(drive / np.sqrt(np.mean(drive**2)))


def haemodynamic_response(time_s: NDArray[np.float64], peak_s: float) -> NDArray[np.float64]:
    """Response to a brief event, at times from 0: a gamma function with its peak at `peak_s` less an undershoot.

    The shape is the double gamma of Glover (1999), a sixth of undershoot 10 s after the peak.
    """
    def gamma(at_s: float, power: float) -> NDArray[np.float64]:
        ratio = np.maximum(time_s, 0.0) / at_s
        return np.asarray(ratio**power * np.exp(power * (1.0 - ratio)), np.float64)

    return gamma(peak_s, 5.0) - gamma(peak_s + 10.0, 15.0) / 6.0


def _smooth_maps(rng: np.random.Generator, head: Head, n_maps: int) -> NDArray[np.float64]:
    """Smooth random maps at the auditory voxels, shape (n_auditory, n_maps), unit variance."""
    where = np.stack(np.unravel_index(head.auditory, head.grey.shape), axis=1)
    low, high = where.min(axis=0), where.max(axis=0) + 1
    values = np.empty((len(where), n_maps))
    for k in range(n_maps):
        smooth = ndimage.gaussian_filter(rng.standard_normal(high - low), _TUNING_FWHM_VOXELS / 2.355)
        values[:, k] = smooth[tuple((where - low).T)]
    return np.asarray(values / values.std(axis=0), np.float64)
