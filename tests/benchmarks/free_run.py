"""Music without onsets on simulated people: how many of its changes are met, how late, and how many borders are none.

Part of `innerear bench science`; alone with `--only free_run`. The detector was chosen on other people (decision 0037).
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from offline_training.fit import DecoderFit, fit_decoder
from offline_training.responses import ResponseRun
from offline_training.simulation.array_scaling import SampledRun, scaled_causally
from offline_training.simulation.music import Music
from offline_training.simulation.order import RunPlan
from offline_training.simulation.session_responses import (
    ResponseSettings,
    SimulatedSamples,
    sample_responses,
    simulate_samples,
)
from realtime.decoding.free_run import FreeRunEvidence
from realtime.decoding.posterior import Posterior, believe
from realtime.decoding.settings import DecodingSettings, FreeRunSettings, Response
from realtime.messages import Clip
from realtime.music.catalogue import Catalogue
from realtime.reliability import ANY_SIZE, HEARD
from tests.benchmarks.decoder import expected_error
from tests.benchmarks.imagery import IMAGERY_GAIN, SPACE, MapDecoder
from tests.benchmarks.science_simulated import over_seeds

Tell = Callable[[str], None]
GAINS = {"free_run": 1.0, "free_run_imagery_size": IMAGERY_GAIN}
EXPECTED: dict[str, Response] = {"free_run": "heard", "free_run_imagery_size": "imagined"}
N_RUNS, PIECES_PER_RUN = 6, 41
PIECES_OF_A_CLIP = (2, 3, 4)
EARLY, LATE, TOLD_WITHIN = 2, 9, 15
"""Volumes: a change is met by the first border at most so much before or behind it that is told within so many."""


@dataclass(frozen=True)
class Border:
    """A segment's first volume, and the volume at which it was told."""

    first_volume: int
    told_at: int


@dataclass(frozen=True)
class Found:
    """Of one run: changes of the music, delays in volumes of those that were met, borders that were none, minutes.

    `claimed` is the posterior of the best clip when each clip ends, `right` whether that was it.
    """

    n_changes: int
    delays: tuple[int, ...]
    n_false: int
    minutes: float
    claimed: tuple[float, ...] = ()
    right: tuple[bool, ...] = ()


def score_borders(changes: Sequence[int], borders: Sequence[Border], minutes: float) -> Found:
    """Hold borders against the volumes at which the music changed; each meets one change at most."""
    left, delays = list(borders), []
    for change in changes:
        for border in left:
            if change - EARLY <= border.first_volume <= change + LATE and border.told_at <= change + TOLD_WITHIN:
                delays.append(border.told_at - change)
                left.remove(border)
                break
    return Found(len(changes), tuple(delays), len(left), minutes)


def bars(n_people: int, tell: Tell) -> dict[str, Any]:
    """The figures at both sizes of response; no bar was set for them."""
    found: dict[str, list[list[Found]]] = {name: [] for name in GAINS}
    for seed in range(n_people):
        tell(f"music without onsets, person {seed + 1} of {n_people}")
        for name, runs in _person(seed).items():
            found[name].append(runs)
    return {name: _figures(people) for name, people in found.items()}


def _figures(people: Sequence[Sequence[Found]]) -> dict[str, Any]:
    runs = [run for person in people for run in person]
    met = [sum(len(run.delays) for run in person) / sum(run.n_changes for run in person) for person in people]
    false = [sum(run.n_false for run in person) / sum(run.minutes for run in person) for person in people]
    delays = [delay for run in runs for delay in run.delays]
    claimed, right = (np.concatenate([getattr(run, name) for run in runs]) for name in ("claimed", "right"))
    return {**over_seeds(met), "false_a_minute": over_seeds(false), "delay_volumes": float(np.median(delays)),
            "delay_volumes_p90": float(np.quantile(delays, 0.9)), "minutes": sum(run.minutes for run in runs),
            "posterior": {"claimed": float(claimed.mean()), "right": float(right.mean()),
                          "ece": expected_error(claimed, right), "n": len(right)},
            "seeds": list(range(len(people))), "n": sum(run.n_changes for run in runs), "bar": "told: changes met",
            "met": None}


def _person(seed: int) -> dict[str, list[Found]]:
    """One decoder, fitted on runs with onsets; at each size, runs that tell none."""
    settings = ResponseSettings()
    sampled = simulate_samples(settings, seed)
    music, parcels, tr_s = sampled.person.music, sampled.parcels, settings.session.scanner.tr_s
    plans = [_plan(music, seed, k) for k in range(N_RUNS)]
    free = [_sampled(sampled, plan, place, gain, seed) for place, gain in enumerate(GAINS.values()) for plan in plans]
    training = [run for run in sampled.runs if not run.is_test]
    responses = scaled_causally([*training, *free], parcels.regions, parcels.names,
                                replace(settings.preprocessing, tr_s=tr_s))
    fit, catalogue, runs = fit_decoder(responses, music.embedding), _catalogue(music), iter(responses.test)
    heard = [[music.clip_ids[row] for row in plan.clips] for plan in plans]
    return {name: [_listen(next(runs), clips, fit, catalogue, EXPECTED[name]) for clips in heard] for name in GAINS}


def _sampled(sampled: SimulatedSamples, plan: RunPlan, place: int, gain: float, seed: int) -> SampledRun:
    own = np.random.SeedSequence([seed, 0xF5, plan.number])  # the same noise at every gain
    run = sample_responses(sampled.person, plan, own, sampled.parcels.voxels, gain)
    return replace(run, run_id=f"{run.run_id}-{place}")


def _plan(music: Music, seed: int, number: int) -> RunPlan:
    """Clips that were never trained on, each for 30 to 60 s."""
    rng, rows = np.random.default_rng([seed, 0xF4, number]), list[int]()
    heard = rng.permutation(np.flatnonzero(~music.training))
    for clip in heard:
        rows += [int(clip)] * int(rng.choice(PIECES_OF_A_CLIP))
    return RunPlan("Test", 101 + number, tuple(rows[:PIECES_PER_RUN]), number % 3, 1000 + number)


def _catalogue(music: Music) -> Catalogue:
    """The clips that nothing was trained on."""
    clips = [clip for clip, trained in zip(music.clip_ids, music.training, strict=True) if not trained]
    rows = np.stack([music.embedding(clip) for clip in clips]).astype(np.float32)
    return Catalogue(SPACE, [Clip(clip, Path("none.wav")) for clip in clips], rows, rows.mean(axis=0))


def _listen(run: ResponseRun, heard: Sequence[str], fit: DecoderFit, catalogue: Catalogue, response: Response) -> Found:
    sizes = HEARD if response == "heard" else ANY_SIZE
    evidence = FreeRunEvidence(FreeRunSettings(), MapDecoder(fit.decoder), fit.reliability, catalogue, sizes)
    settings, per_piece = DecodingSettings("free_run", response=response), len(run.responses) // len(heard)
    changes = [k * per_piece for k in range(1, len(heard)) if heard[k] != heard[k - 1]]
    borders, known, beliefs = list[Border](), 0, list[Posterior]()
    for volume, (row, usable) in enumerate(zip(run.responses, run.usable, strict=True)):
        said = evidence.push(volume, row[fit.decoder.voxels] if usable else None, bool(usable))
        if said is not None and said.segment is not None and said.segment.number > known:
            borders.append(Border(said.segment.first_volume, volume))
            known = said.segment.number
        if said is not None and volume + 1 in changes:
            beliefs.append(believe(catalogue, said.embedding, fit.reliability, said.n_volumes, settings.sizes("")))
    found = score_borders(changes, borders, len(run.responses) * ResponseSettings().session.scanner.tr_s / 60)
    ended = [heard[change // per_piece - 1] for change in changes]
    return replace(found, claimed=tuple(belief.confidence for belief in beliefs), right=tuple(
        belief.top(1)[0].clip.clip_id == clip for belief, clip in zip(beliefs, ended, strict=True)))
