"""A decoder of ready-made arrays: its file, and what it says of held-out runs.

Arrays have no geometry, so there is no bundle of them to run live; the file holds what judging needs.
"""

from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np

from offline_training.decoder_facts import DecoderFacts
from offline_training.errors import DatasetError
from offline_training.evaluate import DecodedRun
from offline_training.linear_map import LinearMap
from offline_training.responses import ResponseRun, Responses
from offline_training.windows import Window, schedule_of, trial_means
from realtime.atomic import write_bytes
from realtime.messages import EmbeddingSpace
from realtime.reliability import Reliability

FILE = "decoder.npz"
_MAP = ("voxels", "mu", "sigma", "weights", "intercept")
_RELIABILITY = ("mean", "evidence_map", "clip_map", "tail")
_FACTS = ("subject", "space_name", "space_sha256", "tr_s", "lag_volumes", "window_volumes", "n_columns")


@dataclass(frozen=True, eq=False)
class ArrayDecoder:
    """A decoder of arrays.

    Attributes
    ----------
    facts : DecoderFacts
    decoder : LinearMap
        From columns of the arrays, those that cannot be used left out.
    n_columns : int
        How many there were of them in training.
    """

    facts: DecoderFacts
    decoder: LinearMap
    n_columns: int


def write_array_decoder(folder: Path, made: ArrayDecoder) -> None:
    """Write its file into a folder that is there."""
    facts, reliability = made.facts, made.facts.reliability
    arrays: dict[str, Any] = {
        "subject": facts.subject, "space_name": facts.space.name, "space_sha256": facts.space.sha256,
        "tr_s": facts.tr_s, "lag_volumes": facts.lag_volumes, "window_volumes": facts.window_volumes,
        "n_columns": made.n_columns, **{name: getattr(made.decoder, name) for name in _MAP},
        **{f"reliability_{name}": getattr(reliability, name) for name in _RELIABILITY}}
    buffer = BytesIO()
    np.savez(buffer, **arrays)
    write_bytes(folder / FILE, buffer.getvalue())


def read_array_decoder(folder: Path) -> ArrayDecoder:
    """Read what `innerear train` made of arrays.

    Raises
    ------
    DatasetError
        The file is not there, or is something else.
    """
    try:
        with np.load(folder / FILE, allow_pickle=False) as arrays:
            known = {name: arrays[name].item() for name in _FACTS}
            decoder = LinearMap(*(arrays[name] for name in _MAP))
            reliability = Reliability(*(arrays[f"reliability_{name}"] for name in _RELIABILITY))
    except (OSError, ValueError, KeyError) as exc:
        raise DatasetError(f"{folder / FILE} cannot be read as a decoder of arrays ({exc}); make it with: innerear "
                           "train ARRAYS FOLDER") from exc
    space = EmbeddingSpace(known["space_name"], decoder.weights.shape[1], known["space_sha256"])
    facts = DecoderFacts(folder.name, known["subject"], space, len(decoder.voxels), known["tr_s"],
                         known["lag_volumes"], known["window_volumes"], reliability)
    return ArrayDecoder(facts, decoder, known["n_columns"])


def decode_arrays(made: ArrayDecoder, responses: Responses) -> list[DecodedRun]:
    """What it says of every trial of the test runs, after each volume, by the rule of the live program.

    Raises
    ------
    DatasetError
        No test run, or arrays that are not like those it was trained on.
    """
    facts = made.facts
    if (responses.tr_s, len(responses.regions)) != (facts.tr_s, made.n_columns):
        raise DatasetError(f"the arrays of subject {responses.subject!r} have {len(responses.regions)} usable voxels "
                           f"and a TR of {responses.tr_s:g} s, decoder {facts.name!r} was trained on {made.n_columns} "
                           f"and {facts.tr_s:g} s; give the arrays it was trained on")
    if not responses.test:
        raise DatasetError(f"subject {responses.subject!r} has no test array: nothing was held out to be decoded; put "
                           "sub-*_Resp_Test.npy beside the training array")
    return [_decoded(made, run) for run in responses.test]


def _decoded(made: ArrayDecoder, run: ResponseRun) -> DecodedRun:
    window = Window(made.facts.lag_volumes, made.facts.window_volumes)
    schedule = schedule_of(run.events, made.facts.tr_s, window)
    scored = [t for t, event in enumerate(run.events) if event.clip_id and not event.is_dummy]
    rows = np.asarray(run.responses[:, made.decoder.voxels], np.float32)
    embeddings = made.decoder.apply(trial_means(rows, run.usable, schedule))[:, scored]
    alone = np.where(run.usable[:, None], made.decoder.apply(rows), np.nan)
    places = np.arange(window.lag_volumes + window.n_volumes)[:, None] + np.array(
        [schedule.onset_volumes[t] for t in scored], np.intp)
    single = np.where((places < len(rows))[:, :, None], alone[np.minimum(places, len(rows) - 1)], np.nan)
    return DecodedRun(run.run_id, tuple(run.events[t].clip_id for t in scored), embeddings.astype(np.float32),
                      tuple(scored), single.astype(np.float32))
