"""What the program measured, decoded and fed back, volume by volume: a table, and the decoded vectors beside it."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from offline_training.bids.tables import Column, Row
from offline_training.disclosure import told
from realtime.experiment.acquisition import Acquisition
from realtime.session.core import N_SHOWN
from realtime.session.record import Document, decode_vector
from realtime.session.steps import Step

_POSE = ("trans_x", "trans_y", "trans_z", "rot_x", "rot_y", "rot_z")
_STAGES = ("received", "journaled", "embedded", "decided")
COLUMNS = (
    Column("onset", "Start of the volume after the start of the first.", "s"),
    Column("volume", "Number of the volume, from 0."),
    Column("status", "OK; SETTLING: the run's first volumes; CENSORED: moved too much to be trusted; GAP: it never "
                     "came; REJECTED: it came and could not be used."),
    Column("reason", "Of GAP and REJECTED, in words."),
    Column("framewise_displacement", "Movement since the last volume that came (Power et al. 2012, turns at 50 mm).",
           "mm"),
    Column("dvars", "Root mean square change of the decoder's voxels since then, of their mean intensity.", "percent"),
    Column("tsnr", "Temporal signal-to-noise ratio of the decoder's voxels, median."),
    *(Column(name, "Of the head against the decoder's reference; turns are arcs at 50 mm.", "mm") for name in _POSE),
    Column("trial", "Whose evidence the volume is, from 0."),
    Column("n_evidence", "Volumes of that trial that speak so far."),
    Column("phase", "Of the design, after this volume."),
    Column("masked", "True where imagery was measured in sound, and the volume does not count."),
    Column("confidence", "Posterior of the best clip."),
    Column("genre", "Best genre."),
    Column("genre_confidence", "Its posterior."),
    *(column for place in range(1, N_SHOWN + 1) for column in (
        Column(f"top{place}_clip", f"The clip in place {place}."),
        Column(f"top{place}_posterior", "Its posterior."),
        Column(f"top{place}_similarity", "Cosine of its embedding and the decoded one."))),
    Column("playing", "Clip that plays by the decision; n/a for silence."),
    Column("decision", "switch, keep, or hold."),
    Column("why", "Of the decision, in words."),
    Column("score", "Nearness to the target by the person's own decoder."),
    Column("shown", "The score that was fed back."),
    Column("mirrored", "The clip that was fed back."),
    Column("threshold", "Of the score that counts as success."),
    Column("grade", "What the feedback was graded by, 0 to 1."),
    Column("level", "Of the feedback's sound.", "dB"),
    Column("clarity", "Of the feedback's sound, 0 to 1."),
    *(Column(stage, "Time from the volume's due end until this was done.", "ms") for stage in _STAGES),
)


def vector_columns(dim: int) -> tuple[Column, ...]:
    """Columns of the decoded vectors: float32 by the fewest digits that give the same bits back."""
    return (Column("volume", "Number of the volume, from 0."),
            *(Column(f"dim_{place:03}", f"Component {place} of the trial's decoded embedding so far.")
              for place in range(dim)))


def feedback_row(step: Step, acquisition: Acquisition, timing: Mapping[int, Document], hidden: bool) -> Row:
    """One volume; hidden: the same columns, empty where an arm could be told by them."""
    document = told(step.document, hidden)
    result, volume = step.percept.preprocessed, step.percept.volume_index
    row: dict[str, Any] = {
        "onset": acquisition.start_s(volume), "volume": volume, "status": document["status"],
        "reason": document["reason"], "framewise_displacement": document["fd_mm"], "dvars": document["dvars_percent"],
        "tsnr": document["tsnr"], "trial": document["trial"] if document["trial"] >= 0 else None,
        "n_evidence": document["n"], "level": document.get("level_db")}
    row |= {name: document.get(name) for name in (
        "phase", "masked", "confidence", "genre", "genre_confidence", "playing", "decision", "why", "score", "shown",
        "mirrored", "threshold", "grade", "clarity")}
    if result is not None:
        row |= dict(zip(_POSE, map(float, result.pose), strict=True))
    for place, ranked in enumerate(document["top"], start=1):
        row |= {f"top{place}_clip": ranked["clip_id"], f"top{place}_posterior": ranked["posterior"],
                f"top{place}_similarity": ranked["similarity"]}
    return row | _latencies(timing.get(volume), hidden)


def _latencies(entry: Document | None, hidden: bool) -> dict[str, Any]:
    if entry is None or entry.get("due_s") is None:
        return {}
    stages = _STAGES[:2] if hidden else _STAGES
    return {stage: round(1e3 * (entry[f"{stage}_s"] - entry["due_s"]), 3) for stage in stages}


def vector_row(step: Step, hidden: bool) -> Row | None:
    """The decoded vector of one volume; None without, or hidden."""
    text = step.document["embedding"]
    if text is None or hidden:
        return None
    vector = decode_vector(text)
    return {"volume": step.percept.volume_index,
            **{f"dim_{place:03}": np.float32(value) for place, value in enumerate(vector)}}
