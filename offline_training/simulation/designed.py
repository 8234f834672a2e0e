"""A simulated person who does what a run's design asks for: hears its clips, and imagines them more weakly."""

import numpy as np
from numpy.typing import NDArray

from offline_training.simulation.anatomy import PAD
from offline_training.simulation.courses import session_rest
from offline_training.simulation.person import Person
from offline_training.simulation.response import by_delay, responded
from offline_training.simulation.scanner import Recording, record_run
from realtime.experiment.run_design import RunDesign

_STEP_S = 0.5
_SESSION = 1  # the head lies elsewhere than on the day of training
IMAGERY_GAIN = 0.35
"""Of the response to hearing the same; what is imagined evokes a third to a half."""


def record_design(person: Person, design: RunDesign, n_volumes: int, seed: int,
                  imagery_gain: float = IMAGERY_GAIN) -> Recording:
    """Scan one run of a design.

    The person hears the design's clips and imagines in its imagery phases. What is fed back is not known when the run
    is made, so that they do not respond to it: it falls between the measurements.

    Parameters
    ----------
    person : Person
        Who lies there.
    design : RunDesign
        What they shall do; clips that their music lacks evoke nothing.
    n_volumes : int
        Of the scan.
    seed : int
        Of noise and movement.
    imagery_gain : float
        Of imagining against hearing.
    """
    settings = person.settings
    course = _course(person, design, n_volumes * settings.scanner.tr_s, imagery_gain)
    starts_s = np.array([design.acquisition.start_s(volume) for volume in range(n_volumes)])
    slices = np.unravel_index(person.head.auditory, person.head.grey.shape)[0] - PAD
    slice_s = np.array(settings.scanner.slice_times_s())[slices]
    signal = by_delay(lambda peak_s, at_s: responded(course, _STEP_S, starts_s + at_s, peak_s),
                      person.tuning.weights[0], person.tuning.peak_s, slice_s)
    chance = np.random.SeedSequence([settings.subject.seed, 0xDE, seed])
    rest = session_rest(settings.subject.seed, _SESSION, settings.motion)
    return record_run(person.phantom, signal, (settings.subject, settings.motion, settings.scanner), chance, rest)


def _course(person: Person, design: RunDesign, run_s: float, imagery_gain: float) -> NDArray[np.float64]:
    """What the brain hears or imagines at every step, shape (n_steps, n_features)."""
    course = np.zeros((round(run_s / _STEP_S), person.features.shape[1]))
    at_s = (np.arange(len(course)) + 0.5) * _STEP_S
    for phase in design.phases:
        gain = {"listen": 1.0, "imagine": imagery_gain}.get(phase.kind, 0.0)
        row = person.music.rows.get(phase.clip_id)
        if gain and row is not None:
            inside = (at_s >= phase.onset_s) & (at_s < phase.onset_s + phase.duration_s)
            course[inside] = gain * person.features[row, :, 0]
    return course
