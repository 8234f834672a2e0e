"""The sound that was played as a regressor: what it did to each volume, and evidence without it.

Feedback that sounds while imagery is measured leaves a response of its own. How much sound there was is known: the
record says what played at which level. Its expected response is taken out of the evidence by least squares over trials.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from offline_training.simulation.response import responded
from realtime.experiment.acquisition import Acquisition
from realtime.playback.levels import gain_of_db
from realtime.session.record import Document

_STEP_S = 0.5
_PEAK_S = 5.0  # of the double gamma of Glover (1999) in auditory cortex
_LEAST_SPREAD = 1e-3  # of the regressor over trials: below, there is nothing to take out
Floats = NDArray[np.float64]


def sound_response(steps: Sequence[Document], acquisition: Acquisition) -> Floats:
    """Expected response to the sound at the middle of each volume, shape (n_volumes,); 1 is long sound at full level.

    Parameters
    ----------
    steps : sequence of dict
        Of the record, one for each volume from 0, in order: what plays, and its level, from its end to the next's end.
    acquisition : Acquisition
        When volumes come.
    """
    n = len(steps)
    starts_s = np.array([acquisition.start_s(volume) for volume in range(n + 2)])
    course = np.zeros((int(np.ceil(starts_s[-1] / _STEP_S)), 1))
    at_s = (np.arange(len(course)) + 0.5) * _STEP_S
    for volume, step in enumerate(steps):
        if step["playing"]:
            sounds = (at_s >= starts_s[volume + 1]) & (at_s < starts_s[volume + 2])
            course[sounds] = gain_of_db(step.get("level_db") or 0.0)
    whole = responded(np.ones((80, 1)), _STEP_S, np.array([40.0]), _PEAK_S)[0, 0]
    middles_s = starts_s[:n] + acquisition.tr_s / 2
    return np.asarray(responded(course, _STEP_S, middles_s, _PEAK_S)[:, 0] / whole, np.float64)


def without_sound(decoded: Floats, sound: Floats) -> Floats | None:
    """Decoded vectors without what goes with the sound, by least squares over trials; None where no trial differs.

    The level alone is taken out, not which music it was: a mirror's feedback is kept out by masks, not by this.

    Parameters
    ----------
    decoded : float64 array of shape (n_trials, dim)
        Rows of NaN stay.
    sound : float64 array of shape (n_trials,)
        Mean of `sound_response` over each trial's volumes.
    """
    known = np.isfinite(decoded).all(axis=1) & np.isfinite(sound)
    if known.sum() < 3 or np.std(sound[known]) < _LEAST_SPREAD:
        return None
    centred = sound - sound[known].mean()
    slope = centred[known] @ decoded[known] / float(centred[known] @ centred[known])
    cleaned = decoded.copy()
    cleaned[known] -= centred[known, None] * slope
    return cleaned
