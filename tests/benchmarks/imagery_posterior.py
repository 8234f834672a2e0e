"""What the posterior promises of imagery and of nothing, and what it keeps: judged as heard, and as imagined.

Sixty clips, single trials, held-out runs; a decoder with the reliability that training gives it, which knows hearing.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from offline_training.fit import DecoderFit, fit_decoder
from offline_training.simulation.session_responses import ResponseSettings, SimulatedResponses, simulate_responses
from offline_training.windows import find_trials, whole_rows
from realtime.reliability import ANY_SIZE, HEARD, Reliability
from tests.benchmarks.decoder import expected_error

RESPONSES = (0.0, 0.2, 0.35, 0.5, 1.0)
"""Of the trials, against that of hearing."""
FIRST_SEED = 200
"""People on whom nothing was looked at before."""
Floats = NDArray[np.float64]


def promises(n_people: int, say: Callable[[str], None]) -> dict[str, Any]:
    """For each response and each way to judge it: mean posterior of the best clip, how often that was right, ECE."""
    found: dict[str, list[tuple[Floats, NDArray[np.bool_]]]] = {}
    for seed in range(FIRST_SEED, FIRST_SEED + n_people):
        say(f"posterior, person {seed - FIRST_SEED + 1} of {n_people}")
        for name, judged in _person(seed).items():
            found.setdefault(name, []).append(judged)
    figures: dict[str, Any] = {"seeds": list(range(FIRST_SEED, FIRST_SEED + n_people))}
    for name, people in found.items():
        claimed, right = (np.concatenate(each) for each in zip(*people, strict=True))
        figures[name] = {"claimed": float(claimed.mean()), "right": float(right.mean()),
                         "ece": expected_error(claimed, right), "n": len(right)}
    return figures


def _person(seed: int) -> dict[str, tuple[Floats, NDArray[np.bool_]]]:
    """Best posterior and whether it was right, trial by trial; the same noise under every response."""
    heard, silent = (simulate_responses(ResponseSettings(gain=gain), seed) for gain in (1.0, 0.0))
    fit = fit_decoder(heard.responses, heard.music.embedding)
    (clips, rows), (_, noise) = _rows(heard, fit), _rows(silent, fit)
    known = sorted(set(clips))
    music = np.stack([heard.music.embedding(clip) for clip in known]).astype(np.float32)
    true = np.array([known.index(clip) for clip in clips])
    judged = {}
    for size in RESPONSES:
        decoded = fit.decoder.predict(noise + np.float32(size) * (rows - noise)).astype(np.float32)
        for way, sizes in (("heard", HEARD), ("imagined", ANY_SIZE)):
            share = _posteriors(decoded, music, fit.reliability, fit.window.n_volumes, sizes)
            judged[f"{size:g} of hearing, judged as {way}"] = share.max(axis=1), share.argmax(axis=1) == true
    return judged


def _rows(person: SimulatedResponses, fit: DecoderFit) -> tuple[tuple[str, ...], NDArray[np.float32]]:
    table = find_trials(person.responses.test, person.responses.tr_s, [fit.window], 0.5)
    return table.clip_ids, whole_rows(table, person.responses.tr_s, fit.window)


def _posteriors(decoded: NDArray[np.float32], music: NDArray[np.float32], reliability: Reliability, n_volumes: int,
                sizes: tuple[float, ...]) -> Floats:
    odds = np.stack([reliability.log_odds(row, music, n_volumes, sizes) for row in decoded])
    share: Floats = np.exp(odds - odds.max(axis=1, keepdims=True))
    return share / share.sum(axis=1, keepdims=True)
