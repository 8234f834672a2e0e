"""What a session or visit recorded, in the words of a methods section."""

import json
import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from offline_training.bids.recordings import find_source
from offline_training.disclosure import design_of
from offline_training.session_view import SessionView, read_session
from realtime.experiment.run_design import RunDesign
from realtime.preprocessing import PreprocessorSettings
from realtime.session.folder import SessionFolder


@dataclass(frozen=True, eq=False)
class RunFacts:
    """One run: its folder's name, what its plan calls it, its record, and its design if it has one."""

    name: str
    task: str
    view: SessionView
    design: RunDesign | None


@dataclass(frozen=True, eq=False)
class Facts:
    """Everything that was recorded.

    Attributes
    ----------
    subject : str
        Pseudonym.
    arm : str
        "" where it may not be told, or there is none.
    runs : tuple of RunFacts
        Complete ones, in order.
    n_aborted : int
    hidden : bool
        Some run is blinded, and no opened allocation was given.
    """

    subject: str
    arm: str
    runs: tuple[RunFacts, ...]
    n_aborted: int
    hidden: bool

    @property
    def first(self) -> SessionView:
        """The first run; all share its decoder and protocol."""
        return self.runs[0].view

    @property
    def fed_back(self) -> tuple[RunFacts, ...]:
        """Runs with feedback: by their design, or because music followed the decoder throughout."""
        return tuple(run for run in self.runs if run.design is None or run.design.feedback.mode != "off")

    @property
    def blinded(self) -> bool:
        """Whether an allocation decided whose feedback was heard."""
        return any(run.design is not None and run.design.blinded for run in self.runs)

    @property
    def settings(self) -> PreprocessorSettings | None:
        """Of the preprocessing: the bundle's, with the first run's limit of motion; None without a bundle."""
        if self.first.bundle is None:
            return None
        own, limit_mm = self.first.bundle.manifest.preprocessing, self.first.motion_limit_mm
        return own if limit_mm is None else replace(own, censor_fd_mm=limit_mm)

    def per_run(self, words: Callable[[RunFacts], str]) -> str:
        """A phrase for each run that has one."""
        said = [(run.name, words(run)) for run in self.runs]
        kept = [(name, each) for name, each in said if each]
        return kept[0][1] if len(self.runs) == 1 and kept else "; ".join(f"{name}: {each}" for name, each in kept)


def read_facts(path: Path, allocation: Path | None = None) -> Facts:
    """What a session or visit recorded; errors as `find_source`."""
    source = find_source(path, "music", "", allocation)
    runs = tuple(RunFacts(recording.folder.path.resolve().name, recording.name.task,
                          read_session(recording.folder.path, allocation), design_of(recording.folder))
                 for recording in source.recordings if recording.is_complete)
    attempts = [attempt for recording in source.recordings for attempt in recording.attempts]
    n_aborted = sum(attempt["status"] != "complete" for attempt in attempts)
    return Facts(source.subject, source.arm, runs, n_aborted, any(run.view.hidden for run in runs))


def quality(view: SessionView) -> str:
    """How much the head moved, and what it cost."""
    moved = view.steps.displacement_mm[np.isfinite(view.steps.displacement_mm)]
    noisy = view.steps.dvars_percent[np.isfinite(view.steps.dvars_percent)]
    words = f"mean framewise displacement {moved.mean():.2f} mm" if len(moved) else "no displacement known"
    words += f", median DVARS {np.median(noisy):.1f} %" if len(noisy) else ""
    return (f"{words}, {view.steps.status.count('CENSORED')} of {len(view.steps.volume)} volumes censored, "
            f"{view.steps.n_lost} lost")


def preprocessing(settings: PreprocessorSettings) -> str:
    """The order of steps and their parameters."""
    tau = f"{settings.drift_tau_s:g} s"
    drift = f"a running mean with a time constant of {tau}" if settings.drift == "mean" else (
        f"a running regression line with a time constant of {tau}")
    steps = [f"each volume is aligned to the training reference (rigid, Gauss-Newton, {settings.alignment_fwhm_mm:g} "
             "mm smoothing for the estimate only)",
             "the decoder's voxels are read in it by a windowed sinc, without reslicing the image"]
    if settings.smoothing_fwhm_mm:
        steps.append(f"smoothing of {settings.smoothing_fwhm_mm:g} mm FWHM")
    if settings.slice_times_s:
        steps.append("slice timing correction to the volume's start")
    steps.append(f"drift removal by {drift}, causal")
    if settings.nuisance_motion or settings.nuisance_tissues:
        tissues = " and the means of white matter and fluid" if settings.nuisance_tissues else ""
        steps.append(f"causal regression of {settings.nuisance_motion} motion regressors{tissues}")
    steps += [f"z-scores by a running standard deviation seeded from training, cut at ±{settings.feature_limit:g}",
              f"volumes that moved more than {settings.censor_fd_mm:g} mm are censored; the first "
              f"{settings.settle_s:g} s of a run give no features"]
    return "; ".join(steps)


def protocol(view: SessionView) -> str:
    """Matrix, voxel size, slices and repetition time."""
    run = view.start["run"]
    sizes = np.linalg.norm(np.array(run["affine"], np.float64).reshape(4, 4)[:3, :3], axis=0)
    return (f"{' × '.join(map(str, run['shape']))} voxels of {' × '.join(f'{size:.3g}' for size in sizes)} mm, TR "
            f"{view.tr_s:g} s")


def trial_kinds(run: RunFacts) -> str:
    """How many trials of which kind and length."""
    if run.design is None:
        lengths = sorted({round(trial.duration_s, 3) for trial in run.view.trials})
        spans = f" of {' or '.join(f'{each:g}' for each in lengths)} s" if lengths else ""
        return f"{len(run.view.trials)} trials{spans}"
    kinds: dict[str, list[float]] = {}
    for phase in run.design.phases:
        kinds.setdefault(phase.kind, []).append(phase.duration_s)
    return ", ".join(f"{len(spans)} × {kind} ({min(spans):g} to {max(spans):g} s)" for kind, spans in kinds.items())


def feedback_rule(run: RunFacts) -> str:
    """When what was decoded became sound, and which."""
    if run.design is None:
        chosen = selection(run.view.folder)
        return ("the music follows the decoder: another genre at "
                f"{chosen.get('genre_odds', math.nan):g} times the odds, another clip at "
                f"{chosen.get('clip_odds', math.nan):g} times, after {chosen.get('dwell_s', math.nan):g} s at "
                f"least, when the best clip has {chosen.get('times_chance', math.nan):g} times chance")
    rule = run.design.feedback
    if rule.mode == "off":
        return ""
    if rule.mode == "mirror":
        return f"the best clip is played back ({rule.when})"
    staircase = rule.threshold
    return (f"nearness to the target {rule.target!r} is graded against a threshold (start {staircase.start:g} SD, step "
            f"{staircase.step:g}, aiming at {staircase.success_share:.0%} successes) and rendered as {rule.render}, "
            f"{rule.when}")


def selection(folder: Path) -> dict[str, Any]:
    """The rule by which music is chosen, as the session kept it."""
    kept: dict[str, Any] = json.loads(SessionFolder(folder).settings.read_bytes())
    return dict(kept.get("selection", {}))


def latency(view: SessionView) -> str:
    """From a volume's due end to its decision."""
    known = view.latency.decision_ms[np.isfinite(view.latency.decision_ms)]
    return f"{np.median(known):.0f} ms median, {known.max():.0f} ms at most, from a volume's end to its decision" \
        if len(known) else ""


def decoder(view: SessionView) -> str:
    """What turns voxels into music."""
    if view.bundle is None:
        return ""
    manifest, bundle = view.bundle.manifest, view.start["bundle"]
    known = manifest.accuracy.get("cross_validated_identification")
    accuracy = f"; cross-validated identification {known:.3f} (chance 0.5)" if known is not None else ""
    return (f"ridge regression from {bundle['n_voxels']} voxels to the embedding {manifest.space.name} "
            f"({manifest.space.dim} dimensions), trained on {manifest.subject}, bundle {bundle['name']}, SHA-256 "
            f"{bundle['sha256'][:16]}; evidence from {manifest.lag_volumes} volumes after a trial's onset, over "
            f"{manifest.window_volumes} volumes{accuracy}")


def identification(view: SessionView) -> str:
    """How well trials were identified, against chance."""
    figures = view.summary
    if figures.get("identification_accuracy") is None:
        return ""
    return (f"identification {figures['identification_accuracy']:.2f} over {figures['trials']} trials, 95 % of "
            f"permutations below {figures['identification_chance_p95']:.2f}, p = {figures['identification_p']:.3f}")
