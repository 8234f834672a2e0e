"""What odds keep the music still while nothing is heard: chosen from a rest run, for one decoder and one corpus.

At rest whatever the decoder says is error, so every switch is false. The log odds by which another clip leads there
scatter; both odds of the selection are raised by one factor, counted in standard deviations of that scatter, to the
first that switches seldom enough.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from offline_training.errors import DatasetError
from realtime.bundle import read_bundle
from realtime.decoding.posterior import Posterior, believe
from realtime.music.selection import SelectionSettings, SelectionState, look, select
from realtime.ports import MusicIndex
from realtime.session.folder import SessionFolder
from realtime.session.record import decode_vector, read_documents

STEPS_SD = tuple(0.25 * step for step in range(0, 33))
_SHORTEST_S = 60.0


@dataclass(frozen=True)
class Rest:
    """What was decoded while nothing was heard.

    Attributes
    ----------
    beliefs : tuple of Posterior
        One per usable volume, in order.
    volumes : tuple of int
        Their indices.
    tr_s : float
        Repetition time.
    """

    beliefs: tuple[Posterior, ...]
    volumes: tuple[int, ...]
    tr_s: float

    @property
    def length_s(self) -> float:
        """Time that its volumes took."""
        return len(self.beliefs) * self.tr_s


@dataclass(frozen=True)
class Calibration:
    """What a rest run says.

    Attributes
    ----------
    settings : SelectionSettings
        With the odds chosen.
    switches_per_minute : float
        What they switch at rest.
    before_per_minute : float
        What the settings given did.
    lead_sd : float
        Standard deviation, at rest, of the log odds by which the best other clip led what played.
    raised_sd : float
        By how many of them the log odds were raised.
    rest_s : float
        Length of the rest that counted.
    """

    settings: SelectionSettings
    switches_per_minute: float
    before_per_minute: float
    lead_sd: float
    raised_sd: float
    rest_s: float


def read_rest(session: Path, index: MusicIndex) -> Rest:
    """A recorded session of rest, as the music of this index would have been judged by its bundle.

    Raises
    ------
    DatasetError
        No record there, or no vector in it, or vectors of another space than the index's.
    BundleError
        The session's bundle is missing or damaged.
    """
    folder = SessionFolder(session)
    rows, tr_s = [], 0.0
    for document in read_documents(folder.record):
        if document["doc"] == "start":
            tr_s = float(document["run"]["tr_s"])
        elif document["doc"] == "step" and document["embedding"] and document["status"] == "OK":
            rows.append(document)
    if not rows or tr_s <= 0:
        raise DatasetError(f"{session} holds no recorded session with decoded volumes; stream a rest run first: "
                           "innerear replay RUN --bundle BUNDLE --catalogue CATALOGUE --session FOLDER")
    vectors = [decode_vector(row["embedding"]) for row in rows]
    if vectors[0].shape != (index.space.dim,):
        raise DatasetError(f"the rest run was decoded into {len(vectors[0])} dimensions, the corpus has "
                           f"{index.space.dim}; give the corpus of the session to come, in the bundle's space")
    reliability = read_bundle(folder.bundle).reliability
    beliefs = tuple(believe(index, vector, reliability, int(row["n"]))
                    for vector, row in zip(vectors, rows, strict=True))
    return Rest(beliefs, tuple(int(row["volume"]) for row in rows), tr_s)


def calibrate(rest: Rest, most_per_minute: float, settings: SelectionSettings | None = None) -> Calibration:
    """Choose the odds.

    Parameters
    ----------
    rest : Rest
        At least a minute.
    most_per_minute : float
        False switches allowed.
    settings : SelectionSettings, optional
        Odds to begin from, dwell and exclusions to keep.

    Raises
    ------
    DatasetError
        Less than a minute of rest, or nothing tried is still enough.
    """
    given = settings or SelectionSettings()
    if rest.length_s < _SHORTEST_S:
        raise DatasetError(f"the rest run has {len(rest.beliefs)} decoded volumes of {rest.tr_s:g} s, wanted "
                           f"{_SHORTEST_S:g} s; record more rest, with trials marked as in the session to come")
    sd = float(np.std(leads(rest, given)))
    before = false_switches(rest, given)
    for step in STEPS_SD:
        factor = float(np.exp(step * sd))
        chosen = replace(given, genre_odds=round(given.genre_odds * factor, 2),
                         clip_odds=round(given.clip_odds * factor, 2))
        switches = false_switches(rest, chosen)
        if switches <= most_per_minute:
            return Calibration(chosen, switches, before, sd, step, rest.length_s)
    raise DatasetError(f"no odds up to {STEPS_SD[-1]:g} standard deviations ({sd:.2f} in log odds) keep this rest run "
                       f"below {most_per_minute:g} switches a minute; allow more, or decode with a better bundle")


def leads(rest: Rest, settings: SelectionSettings) -> Sequence[float]:
    """Log odds of the best other clip against the one that the first volume chose, volume by volume."""
    barred = frozenset(settings.excluded)
    first = look(rest.beliefs[0], None, barred).best
    playing = next(clip for clip in rest.beliefs[0].clips if clip.clip_id == first)
    odds = [look(belief, playing, barred).odds for belief in rest.beliefs[1:]]
    return [float(np.log(value)) for value in odds if 0.0 < value < np.inf]


def false_switches(rest: Rest, settings: SelectionSettings) -> float:
    """Switches a minute that the policy makes in this rest, the first choice not counted."""
    barred, state, n_switches = frozenset(settings.excluded), SelectionState(), 0
    clips = {clip.clip_id: clip for belief in rest.beliefs for clip in belief.clips}
    for volume, belief in zip(rest.volumes, rest.beliefs, strict=True):
        outlook = look(belief, clips[state.playing] if state.playing else None, barred)
        decision = select(state, outlook, belief.confidence * len(belief.clips), volume, rest.tr_s, settings)
        n_switches += decision.kind == "switch" and bool(state.playing)
        state = decision.state
    return n_switches / (rest.length_s / 60.0)
