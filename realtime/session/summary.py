"""Figures of a session: what was lost, how fast it was, and whether music was decoded at all."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

from realtime.atomic import without_nan
from realtime.music.catalogue import Catalogue
from realtime.scoring import identification_accuracy, permutation_band, rank_score, verdict
from realtime.session.attempts import attempts_of, last_attempt, last_attempt_timing
from realtime.session.checks import summarise_checks
from realtime.session.entries import MessageEntry, read_entry
from realtime.session.folder import SessionFolder
from realtime.session.journal import scan_journal
from realtime.session.record import Document, decode_vector, read_documents
from realtime.session.trial_coverage import coverage, moved_volumes, segments
from scanner_bridge.errors import WireError
from scanner_bridge.volume import Volume
from scanner_bridge.wire import decode, unpack

Figures = dict[str, Any]


def summarise(folder: SessionFolder, catalogue: Catalogue, sound: Figures) -> Figures:
    """Figures of a finished session, read back from its files: of its last attempt, and a line for each.

    Parameters
    ----------
    folder : SessionFolder
        With journal, record and timing.
    catalogue : Catalogue
        Holds the embeddings of the clips that were heard.
    sound : dict
        What the player counted.

    Returns
    -------
    dict
        JSON-ready; NaN appears as None.
    """
    record = list(read_documents(folder.record))
    documents, timing = last_attempt(record), last_attempt_timing(read_documents(folder.timing))
    run_id = next((document["run"]["run_id"] for document in documents if document["doc"] == "start"), None)
    stop = next((document for document in documents if document["doc"] == "stop"), {})
    figures: Figures = {
        "volumes_sent": stop.get("volumes_sent"), "volumes_journaled": count_volumes(folder.journal, run_id),
        "gaps": stop.get("gaps", 0), "rejected": stop.get("rejected", 0), "censored": stop.get("censored", 0),
        "duplicates": stop.get("duplicates", 0), "late": stop.get("late", 0), "status": stop.get("status"),
        "reason": stop.get("reason", ""), "trigger": stop.get("trigger"), "attempts": attempts_of(record),
        **score_trials(documents, catalogue), **latencies(timing), "clock": clock(timing),
        "self_check": summarise_checks(timing),
        "switches": sum(document["doc"] == "cue" for document in documents), **sound,
        "played_wav": str(folder.played), "session_dir": str(folder.path),
    }
    cleaned: Figures = without_nan(figures)
    return cleaned


def count_volumes(journal: Path, run_id: str | None) -> int:
    """How many different volume indices the journal holds of an acquisition; None: of any."""
    indices = set()
    for record in scan_journal(journal).records:
        entry = read_entry(record)
        if isinstance(entry, MessageEntry):
            try:
                message = decode(unpack(entry.blob))
            except WireError:
                continue
            if isinstance(message, Volume) and run_id in (message.run_id, None):
                indices.add(message.index)
    return len(indices)


def score_trials(documents: Iterable[Document], catalogue: Catalogue) -> Figures:
    """Identification accuracy of single trials, from the last evidence of each, with its chance band and coverage."""
    trials: dict[int, Document] = {}
    decoding: Document = {"least_confidence": 0.0, "sure_of": "clip"}
    steps: list[Document] = []
    for document in documents:
        if document["doc"] == "start":
            trials, decoding = {trial["trial"]: trial for trial in document["trials"]}, document["decoding"]
        elif document["doc"] == "step":
            steps.append(document)
    last = {step["trial"]: step for step in steps if step["embedding"] is not None}
    scored = [number for number, trial in trials.items()
              if not trial["is_dummy"] and trial["clip_id"] and trial["clip_id"] in catalogue]
    clips = [str(trials[number]["clip_id"]) for number in scored]
    empty = np.full(catalogue.space.dim, np.nan, np.float32)
    predictions = np.array([decode_vector(last[number]["embedding"]) if number in last else empty for number in scored])
    targets = np.array([catalogue.embedding(clip) for clip in clips])
    shape = (len(scored), catalogue.space.dim)
    predictions, targets = predictions.reshape(shape), targets.reshape(shape)
    score = identification_accuracy(predictions, targets, clips)
    band = permutation_band(predictions, targets, clips)
    ranks = rank_score(predictions, targets, clips)
    return {
        "trials": score.n_trials, "identification_accuracy": score.mean, "identification_chance_p95": band.p95,
        "identification_chance_p50": band.p50, "identification_p": band.p_value,
        "identification_per_trial": [float(value) for value in score.per_trial],
        "median_rank": ranks.median_rank, "top1": ranks.top1, "top3": ranks.top3, "candidates": ranks.n_candidates,
        "verdict": verdict(score, band), "moved_volumes": moved_volumes(steps), "segments": segments(steps),
        "coverage": coverage(decoding, dict(zip(scored, clips, strict=True)), last, score.per_trial),
    }


def latencies(timing: Iterable[Document]) -> Figures:
    """Percentiles from each volume's scheduled arrival to its embedding, its decision and its sound.

    The clock starts when the scanner should have finished the volume, not when the program got
    round to it: timing only the service hides every delay that queues behind another.
    """
    embedded, decided, sounding = [], [], []
    due: dict[int, float] = {}
    for entry in timing:
        if "cue" in entry:
            if entry["volume"] in due:
                sounding.append(entry["sound_s"] - due[entry["volume"]])
        elif entry.get("due_s") is not None:
            due[entry["volume"]] = entry["due_s"]
            decided.append(entry["decided_s"] - entry["due_s"])
            if entry["embedded"]:
                embedded.append(entry["embedded_s"] - entry["due_s"])
    return {"latency_ms": {"volume_to_embedding": percentiles_ms(embedded),
                           "volume_to_decision": percentiles_ms(decided),
                           "volume_to_sound": percentiles_ms(sounding)}}


def clock(timing: Iterable[Document]) -> Figures:
    """How far the bridge's clock lay from this host's at the last volume, and the worst bound: latencies are no surer.

    All None when it was never known; the latencies then have no volumes. 0 on one host.
    """
    known = [entry for entry in timing if entry.get("clock_offset_s") is not None]
    if not known:
        return {"offset_s": None, "uncertainty_ms": None, "drift_ppm": None}
    return {"offset_s": known[-1]["clock_offset_s"], "drift_ppm": known[-1]["clock_drift_ppm"],
            "uncertainty_ms": round(1000 * max(entry["clock_uncertainty_s"] for entry in known), 3)}


def percentiles_ms(values_s: list[float]) -> Figures:
    """{p50, p99, max, n} in milliseconds; None without values. With few values p99 is the maximum."""
    if not values_s:
        return {"p50": None, "p99": None, "max": None, "n": 0}
    milliseconds = 1000.0 * np.asarray(values_s)
    p50, p99 = np.percentile(milliseconds, [50, 99])
    return {"p50": round(float(p50), 3), "p99": round(float(p99), 3), "max": round(float(milliseconds.max()), 3),
            "n": len(values_s)}
