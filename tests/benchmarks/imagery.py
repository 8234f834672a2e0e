"""The bars of imagination: identification at a third of the signal, nothing from nothing, learning, blinding.

Persons are simulated as responses (`offline_training.simulation.session_responses`); scaler, window, ridge, scores,
threshold and arms are the live program's own.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from scipy import stats

from offline_training.fit import fit_linear_map
from offline_training.linear_map import LinearMap
from offline_training.responses import Responses
from offline_training.simulation.learner import Learner, LearnerSettings
from offline_training.simulation.music import Music
from offline_training.simulation.session_responses import ResponseSettings, simulate_responses
from offline_training.windows import Window, find_trials, whole_rows
from realtime.experiment.acquisition import Acquisition
from realtime.experiment.arms import Arm, ArmDecoder, Tape
from realtime.experiment.design import DesignSettings, generate
from realtime.experiment.feedback import (
    FeedbackSettings,
    ThresholdSettings,
    grade,
    next_threshold,
    rivals,
    target_score,
)
from realtime.experiment.run_design import RunDesign, seal_arm
from realtime.messages import Clip, EmbeddingSpace
from realtime.music.catalogue import Catalogue
from realtime.scoring import identification_accuracy, permutation_band, rank_score
from realtime.session.blinding import blinded
from realtime.session.core import LiveCore
from realtime.session.events import events_of
from tests import builders
from tests.benchmarks.imagery_posterior import promises

IMAGERY_GAIN = 0.35
GAINS = (0.1, 0.2, 0.35, 0.5, 1.0, 2.0)
WINDOW = Window(3, 10)
LEARNER = LearnerSettings()
FEEDBACK = FeedbackSettings("target", "any", threshold=ThresholdSettings(0.0, 0.1, 0.6))
N_STRATEGIES, N_LEARNING_TRIALS = 8, 160
SPACE = EmbeddingSpace("simulated", 128, "5" * 64)
Floats = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Trials:
    """One row per trial: features (n, n_voxels), targets (n, dim), what was heard and in which run."""

    features: NDArray[np.float32]
    targets: Floats
    clip_ids: tuple[str, ...]
    run_ids: tuple[str, ...]


def trials_of(responses: Responses, music: Music) -> Trials:
    """Of the test runs."""
    table = find_trials(responses.test, responses.tr_s, [WINDOW], 0.5)
    targets = np.stack([music.embedding(clip) for clip in table.clip_ids]).astype(np.float64)
    return Trials(whole_rows(table, responses.tr_s, WINDOW), targets, table.clip_ids, table.run_ids)


@dataclass(frozen=True, eq=False)
class Subject:
    """A simulated person with a decoder trained on listening, and what it makes of held-out trials at some gain."""

    seed: int
    decoder: LinearMap
    music: Music
    trials: Trials

    @property
    def predictions(self) -> Floats:
        """Of the held-out trials, shape (n_trials, dim)."""
        return self.decoder.predict(self.trials.features)


def subject(seed: int, gain: float, decoder: LinearMap | None = None) -> Subject:
    """Simulate a session in which the test runs are imagined at this gain; the training runs do not depend on it."""
    simulated = simulate_responses(ResponseSettings(gain=gain), seed)
    responses, music = simulated.responses, simulated.music
    decoder = decoder or fit_linear_map(responses, music.embedding)
    return Subject(seed, decoder, music, trials_of(responses, music))


def scored(person: Subject, rows: slice | NDArray[np.bool_] = slice(None)) -> dict[str, Any]:
    """Identification of some of a person's trials, with its chance band and ranks."""
    trials = person.trials
    clips, runs = (tuple(np.array(each)[rows]) for each in (trials.clip_ids, trials.run_ids))
    decoded, heard = person.predictions[rows], trials.targets[rows]
    score = identification_accuracy(decoded, heard, clips)
    band = permutation_band(decoded, heard, clips, runs, 2000, person.seed)
    ranks = rank_score(decoded, heard, clips)
    return {"identification": score.mean, "p95": band.p95, "p99": band.p99, "p_value": band.p_value,
            "median_rank": ranks.median_rank, "candidates": ranks.n_candidates, "trials": score.n_trials}


@dataclass(frozen=True, eq=False)
class _Signals:
    """What a person's voxels say when they imagine a clip, and noise rows without any music."""

    decoder: "MapDecoder"
    catalogue: Catalogue
    of_clip: dict[str, NDArray[np.float32]]
    noise: NDArray[np.float32]


class MapDecoder:
    """A linear map as a `Decoder`."""

    def __init__(self, fitted: LinearMap) -> None:
        self._fitted = fitted

    @property
    def space(self) -> EmbeddingSpace:
        return SPACE

    def decode(self, features: NDArray[np.float32]) -> NDArray[np.float32]:
        return np.asarray(self._fitted.apply(features[None])[0], np.float32)


def _signals(silent: Subject, imagined: Subject) -> _Signals:
    """The same draw of noise with and without imagery: the difference is what imagery evokes."""
    kept = silent.decoder.voxels
    evoked = (imagined.trials.features - silent.trials.features)[:, kept]
    names = np.array(silent.trials.clip_ids)
    clips = sorted(set(silent.trials.clip_ids))
    rows = np.stack([silent.music.embedding(clip) for clip in clips]).astype(np.float32)
    catalogue = Catalogue(SPACE, [Clip(clip, Path("none.wav")) for clip in clips], rows, rows.mean(axis=0))
    return _Signals(MapDecoder(silent.decoder), catalogue, {clip: evoked[names == clip].mean(axis=0) for clip in clips},
                    silent.trials.features[:, kept])


def _training(signals: _Signals, arm: Arm, seed: int,
              tape: list[float] | None = None) -> tuple[list[float], list[float]]:
    """One person's target training: their own scores trial by trial, and what they were shown."""
    rng = np.random.default_rng([seed, 0x7A])
    clips = [clip.clip_id for clip in signals.catalogue.clips]
    target = str(rng.choice(clips))
    others = rivals(signals.catalogue, [target])
    strategies = [target, *rng.choice(others, N_STRATEGIES - 1, replace=False)]
    shown_by, own_by = ArmDecoder(signals.decoder, arm, seed), ArmDecoder(signals.decoder, "real", seed)
    learner, threshold, own, shown = Learner.new(N_STRATEGIES), FEEDBACK.threshold.start, [], []
    rng = np.random.default_rng([seed, 0x7B])
    for trial in range(N_LEARNING_TRIALS):
        strategy = learner.choose(rng, LEARNER)
        row = signals.of_clip[strategies[strategy]] + signals.noise[rng.integers(len(signals.noise))]
        own.append(target_score(own_by.decode(row), signals.catalogue, [target], others))
        score = target_score(shown_by.decode(row), signals.catalogue, [target], others)
        shown.append(score if tape is None else tape[trial])
        learner = learner.rewarded(strategy, grade(shown[-1], threshold, FEEDBACK.spread), LEARNER)
        threshold = next_threshold(threshold, shown[-1] >= threshold, FEEDBACK.threshold)
    return own, shown


@dataclass(frozen=True, eq=False)
class Person:
    """All that one simulated person gives: figures, and target training in the arms that need nobody else's tape."""

    seed: int
    silent_runs: list[dict[str, Any]]
    signals: _Signals
    real: tuple[list[float], list[float]]
    shuffled: list[float]


def a_person(seed: int) -> Person:
    """Simulate a person who imagines, and who lies there without music; the decoder is trained on listening."""
    silent = subject(seed, 0.0)
    signals = _signals(silent, subject(seed, IMAGERY_GAIN, silent.decoder))
    runs = np.array(silent.trials.run_ids)
    return Person(seed, [scored(silent, runs == run) for run in np.unique(runs)], signals,
                  _training(signals, "real", seed), _training(signals, "shuffled", seed)[0])


def identified(seed: int) -> dict[str, Any]:
    """One person's imagery and perception with the same decoder, and what comes between and beyond."""
    heard = subject(seed, 1.0)
    silent = subject(seed, 0.0, heard.decoder)
    return {"seed": seed, "perception": scored(heard), "imagery": scored(subject(seed, IMAGERY_GAIN, heard.decoder)),
            "by_gain": _by_gain(silent, heard)}


def _by_gain(silent: Subject, heard: Subject) -> dict[str, float]:
    """Identification with the same noise under so much of the response, and without noise.

    The scaler divides by what it has seen, so that a response that is mixed in behind it stands for a slightly
    smaller one.
    """
    trials, evoked = silent.trials, heard.trials.features - silent.trials.features
    rows = {f"{gain:g}": trials.features + np.float32(gain) * evoked for gain in GAINS} | {"without noise": evoked}
    return {name: identification_accuracy(silent.decoder.predict(each), trials.targets, trials.clip_ids).mean
            for name, each in rows.items()}


def identification(people: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Imagery against perception over people."""
    imagined = [person["imagery"] for person in people]
    return {"gain": IMAGERY_GAIN, "subjects": len(people), "persons": list(people),
            "imagery_mean": float(np.mean([each["identification"] for each in imagined])),
            "perception_mean": float(np.mean([person["perception"]["identification"] for person in people])),
            "above_p99": sum(each["identification"] > each["p99"] for each in imagined),
            "by_gain_mean": {name: float(np.mean([person["by_gain"][name] for person in people]))
                             for name in people[0]["by_gain"]}}


def nothing(people: Sequence[Person]) -> dict[str, Any]:
    """Runs with no signal at all: how many stay within the chance band."""
    runs = [run for person in people for run in person.silent_runs]
    return {"runs": len(runs), "mean": float(np.mean([run["identification"] for run in runs])),
            "within_p99": sum(run["identification"] <= run["p99"] for run in runs),
            "within_p95": sum(run["identification"] <= run["p95"] for run in runs)}


def learning(people: Sequence[Person]) -> dict[str, Any]:
    """Rise of a person's own score from the first to the last quarter of the training, in every arm.

    The yoked arm hears the tape of the person before, in the real arm.
    """
    quarter = N_LEARNING_TRIALS // 4
    rises: dict[str, list[float]] = {"real": [], "yoked": [], "shuffled": []}
    for place, person in enumerate(people):
        yoked = _training(person.signals, "yoked", person.seed, people[place - 1].real[1])[0]
        for arm, scores in (("real", person.real[0]), ("yoked", yoked), ("shuffled", person.shuffled)):
            rises[arm].append(float(np.mean(scores[-quarter:]) - np.mean(scores[:quarter])))
    effects = {arm: _effect(np.array(values)) for arm, values in rises.items()}
    for arm in ("yoked", "shuffled"):
        effects[f"real minus {arm}"] = _effect(np.array(rises["real"]) - np.array(rises[arm]))
    return {"subjects": len(people), "trials": N_LEARNING_TRIALS, "strategies": N_STRATEGIES, "rise_in_sd": effects}


def _effect(values: Floats) -> dict[str, float]:
    """Mean with its 95 % interval and p of a t test, and the effect size d."""
    test = stats.ttest_1samp(values, 0.0)
    low, high = test.confidence_interval(0.95)
    return {"mean": float(values.mean()), "low": float(low), "high": float(high), "p": float(test.pvalue),
            "d": float(values.mean() / values.std(ddof=1))}


def blinding(n_volumes: int) -> dict[str, Any]:
    """What is told, and after how long, of the same volumes in three arms, taken in turn volume by volume."""
    settings = DesignSettings(tuple(f"clip{n:02}" for n in range(builders.N_CLIPS)), blocks=3)
    acquisition, arms = Acquisition(builders.TR_S), ("real", "yoked", "shuffled")
    phases = generate(settings, acquisition, 1)
    rng = np.random.default_rng(0)
    tape = Tape(tuple(float(value) for value in rng.standard_normal(n_volumes)), ("",) * n_volumes)
    cores = {}
    for arm in arms:
        design = RunDesign("blind", phases, acquisition, feedback=FeedbackSettings("target", "clip07"),
                           target=("clip07",), rungs=("clip01", "clip02", "clip03", "clip04", "clip05", "clip07"),
                           tape=tape, sealed_arm=seal_arm(arm, 1), blinded=True, seed=1)  # type: ignore[arg-type]
        cores[arm] = LiveCore(builders.header(n_volumes),
                              replace(builders.parts(), events=events_of(design), design=design))
        cores[arm].begin()
    delays: dict[str, list[float]] = {arm: [] for arm in arms}
    told: dict[str, list[Any]] = {arm: [] for arm in arms}
    templates = builders.volumes(40)
    for number in range(n_volumes):
        volume = replace(builders.run_of(templates)[number % 40], index=number)
        for arm in np.roll(arms, number % 3):
            begun_s = time.perf_counter()
            steps = [cores[arm].decide(percept) for percept in cores[arm].perceive(volume).percepts]
            delays[arm].append(time.perf_counter() - begun_s)
            told[arm] += [blinded("step", step.document) for step in steps]
    schemas = {arm: {tuple((key, type(value).__name__) for key, value in each.items()) for each in told[arm]}
               for arm in arms}
    pairs = {f"{one} against {other}": float(stats.ks_2samp(delays[one], delays[other]).pvalue)
             for one, other in (("real", "yoked"), ("real", "shuffled"), ("yoked", "shuffled"))}
    return {"volumes": n_volumes, "messages_equal": told["real"] == told["yoked"] == told["shuffled"],
            "schemas_equal": schemas["real"] == schemas["yoked"] == schemas["shuffled"], "ks_p": pairs,
            "median_ms": {arm: round(1000 * float(np.median(delays[arm])), 3) for arm in arms}}


PARTS = ("identification", "posterior", "training", "blinding")


def measure(n_decoded: int, n_trained: int, n_volumes: int, only: str, say: Callable[[str], None]) -> dict[str, Any]:
    """All bars, or one part; people are simulated one after the other, a minute or less of a processor each."""
    report: dict[str, Any] = {"benchmark": "imagery"}
    if only in ("", "identification"):
        decoded = []
        for seed in range(n_decoded):
            say(f"identification, person {seed + 1} of {n_decoded}")
            decoded.append(identified(seed))
        report["identification"] = identification(decoded)
    if only in ("", "posterior"):
        report["posterior"] = promises(n_decoded, say)
    if only in ("", "training"):
        trained = []
        for seed in range(n_trained):
            say(f"no signal and target training, person {seed + 1} of {n_trained}")
            trained.append(a_person(1000 + seed))
        report |= {"no_signal": nothing(trained), "target_training": learning(trained)}
    if only in ("", "blinding"):
        report["blinding"] = blinding(n_volumes)
    return report


def show(report: dict[str, Any]) -> None:
    """Print what was measured."""
    Console().print_json(data=report)
