"""From samples to responses: by the live scaler, volume by volume, or by the published offline filter."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from offline_training.responses import ResponseRun, Responses
from realtime.preprocessing import CausalScaler, PreprocessorSettings
from realtime.session.events import Event

_SUBJECT = "simulated"
_MEDIAN_WINDOW_S = 240.0


@dataclass(frozen=True, eq=False)
class SampledRun:
    """One run before scaling.

    Attributes
    ----------
    run_id : str
    session : int
    is_test : bool
    samples : float32 array of shape (n_volumes, n_voxels)
        Aligned, scanner units.
    displacement_mm : float64 array of shape (n_volumes,)
        Framewise displacement.
    events : tuple of Event
    """

    run_id: str
    session: int
    is_test: bool
    samples: NDArray[np.float32]
    displacement_mm: NDArray[np.float64]
    events: tuple[Event, ...]


def scaled_causally(runs: Sequence[SampledRun], regions: NDArray[np.intp], names: tuple[str, ...],
                    settings: PreprocessorSettings) -> Responses:
    """Responses as the live program has them: its own scaler, seeded with the training runs' standard deviations."""
    squares = []
    for run in (run for run in runs if not run.is_test):
        state = _push_all(run, settings, None)[2].state()
        squares.append(state.spread / np.maximum(state.mean, 1e-6) ** 2)
    scale = np.sqrt(np.mean(squares, axis=0)).astype(np.float32)
    done = []
    for run in runs:
        features, usable, _ = _push_all(run, settings, scale)
        done.append(ResponseRun(run.run_id, run.session, run.is_test, features, usable, run.events,
                                run.displacement_mm))
    return Responses(_SUBJECT, settings.tr_s, tuple(done), regions, names)


def _push_all(run: SampledRun, settings: PreprocessorSettings,
              scale: NDArray[np.float32] | None) -> tuple[NDArray[np.float32], NDArray[np.bool_], CausalScaler]:
    scaler = CausalScaler(run.samples.shape[1], settings, scale)
    features, usable = np.empty_like(run.samples), np.zeros(len(run.samples), bool)
    for volume, row in enumerate(run.samples):
        censored, settling = bool(run.displacement_mm[volume] > settings.censor_fd_mm), scaler.settling
        features[volume] = scaler.push(row, censored)
        usable[volume] = not settling and scaler.has_baseline and not censored
    return features, usable, scaler


def filtered_as_published(runs: Sequence[SampledRun], regions: NDArray[np.intp], names: tuple[str, ...],
                          tr_s: float) -> Responses:
    """Responses as Brain2Music made them: less a median over 240 s, then z-scores over the run; not causal."""
    window = 2 * round(_MEDIAN_WINDOW_S / tr_s / 2) + 1
    done = []
    for run in runs:
        responses = np.empty_like(run.samples)
        for voxel, course in enumerate(np.ascontiguousarray(run.samples.T)):
            responses[:, voxel] = course - ndimage.median_filter(course, window, mode="nearest")
        responses -= responses.mean(axis=0)
        responses /= np.maximum(responses.std(axis=0), 1e-6)
        done.append(ResponseRun(run.run_id, run.session, run.is_test, responses, np.ones(len(responses), bool),
                                run.events, run.displacement_mm))
    return Responses(_SUBJECT, tr_s, tuple(done), regions, names)
