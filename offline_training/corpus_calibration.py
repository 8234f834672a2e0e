"""How much smoothing and margin keep the music still while nothing is heard: chosen from a rest run.

At rest whatever the decoder says is error, so every switch is false. Of all pairs of smoothing and
margin that switch less often than allowed, the one that follows a true change soonest is taken.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from offline_training.errors import DatasetError
from realtime.music.index import direction
from realtime.music.selection import SelectionSettings, SelectionState, look, select, steer
from realtime.ports import MusicIndex
from realtime.session.folder import SessionFolder
from realtime.session.record import decode_vector, read_documents

SMOOTHINGS = (0.0, 0.3, 0.5, 0.7, 0.8, 0.9)
MARGINS = tuple(round(0.01 * step, 2) for step in range(0, 61))
_SURE = float("inf")
_SHORTEST_S = 60.0
_GAIN = 0.5  # by how much a clip that is truly heard beats another, in cosine: what followers are compared at


@dataclass(frozen=True)
class Calibration:
    """What a rest run says.

    Attributes
    ----------
    settings : SelectionSettings
        With the smoothing and margin chosen.
    switches_per_minute : float
        What they switch at rest.
    before_per_minute : float
        What the settings given did.
    volumes_to_follow : int
        After a change by half a cosine, until the margin is passed.
    rest_s : float
        Length of the rest that counted.
    """

    settings: SelectionSettings
    switches_per_minute: float
    before_per_minute: float
    volumes_to_follow: int
    rest_s: float


def rest_embeddings(session: Path) -> tuple[NDArray[np.float32], float]:
    """Decoded vectors (n_volumes, dim) of a recorded session of rest, and its repetition time in seconds.

    Raises
    ------
    DatasetError
        No record there, or no vector in it.
    """
    rows, tr_s = [], 0.0
    for document in read_documents(SessionFolder(session).record):
        if document["doc"] == "start":
            tr_s = float(document["run"]["tr_s"])
        elif document["doc"] == "step" and document["embedding"] and document["status"] == "OK":
            rows.append(decode_vector(document["embedding"]))
    if not rows or tr_s <= 0:
        raise DatasetError(f"{session} holds no recorded session with decoded volumes; stream a rest run first: "
                           "innerear replay RUN --bundle BUNDLE --catalogue CATALOGUE --session FOLDER")
    return np.stack(rows), tr_s


def calibrate(embeddings: NDArray[np.float32], tr_s: float, index: MusicIndex, most_per_minute: float,
              settings: SelectionSettings | None = None) -> Calibration:
    """Choose smoothing and margin.

    Parameters
    ----------
    embeddings : float32 array of shape (n_volumes, dim)
        Decoded at rest, one after the other, in the index's space; at least a minute.
    tr_s : float
        Repetition time.
    index : MusicIndex
        The music that would have played.
    most_per_minute : float
        False switches allowed.
    settings : SelectionSettings, optional
        Dwell and exclusions to keep.

    Raises
    ------
    DatasetError
        Less than a minute of rest, vectors of another dimension, or nothing tried is still enough.
    """
    given = settings or SelectionSettings()
    if embeddings.shape[1] != index.space.dim or len(embeddings) * tr_s < _SHORTEST_S:
        raise DatasetError(f"the rest run has {len(embeddings)} decoded volumes of {tr_s:g} s in {embeddings.shape[1]} "
                           f"dimensions, wanted {_SHORTEST_S:g} s in {index.space.dim}; record more rest, with the "
                           "bundle and catalogue of the session to come")
    best: Calibration | None = None
    before = false_switches(embeddings, tr_s, index, given)
    for smoothing in SMOOTHINGS:
        margin, switches = _smallest_margin(embeddings, tr_s, index, replace(given, smoothing=smoothing),
                                            most_per_minute)
        if margin is None:
            continue
        volumes = volumes_to_follow(smoothing, margin)
        if best is None or volumes < best.volumes_to_follow:
            best = Calibration(replace(given, smoothing=smoothing, margin=margin), switches, before, volumes,
                               len(embeddings) * tr_s)
    if best is None:
        raise DatasetError(f"no smoothing up to {SMOOTHINGS[-1]} and margin up to {MARGINS[-1]} keeps this rest run "
                           f"below {most_per_minute:g} switches a minute; allow more, or decode with a better bundle")
    return best


def false_switches(embeddings: NDArray[np.float32], tr_s: float, index: MusicIndex,
                   settings: SelectionSettings) -> float:
    """Switches a minute that the policy makes on these vectors, the first choice not counted."""
    barred, state, n_switches = frozenset(settings.excluded), SelectionState(), 0
    for volume, embedding in enumerate(embeddings):
        state = steer(state, direction(embedding, index.centre), settings.smoothing)
        decision = select(state, look(state, index, barred), _SURE, volume, tr_s, settings)
        n_switches += decision.kind == "switch" and bool(state.playing)
        state = decision.state
    return n_switches / (len(embeddings) * tr_s / 60.0)


def volumes_to_follow(smoothing: float, margin: float) -> int:
    """Volumes until a lead that jumps from -0.5 to 0.5 has passed the margin through the smoothing."""
    lead, volumes = -_GAIN, 0
    while lead < margin and volumes < 1000:
        lead, volumes = smoothing * lead + (1.0 - smoothing) * _GAIN, volumes + 1
    return volumes


def _smallest_margin(embeddings: NDArray[np.float32], tr_s: float, index: MusicIndex, settings: SelectionSettings,
                     most_per_minute: float) -> tuple[float | None, float]:
    """The smallest margin that is still enough, by halving, and what it switches; None when none is."""
    def switches(margins: Sequence[float], place: int) -> float:
        return false_switches(embeddings, tr_s, index, replace(settings, margin=margins[place]))

    low, high = 0, len(MARGINS) - 1
    if switches(MARGINS, high) > most_per_minute:
        return None, 0.0
    while low < high:
        middle = (low + high) // 2
        low, high = (low, middle) if switches(MARGINS, middle) <= most_per_minute else (middle + 1, high)
    return MARGINS[high], switches(MARGINS, high)
