"""From a run of a plan to its design: targets found, rungs chosen, arm sealed; and what is wrong with a plan.

Everything is checked before the subject is in, and told at once.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeVar

from realtime.bundle import Bundle, check_space, read_bundle
from realtime.config import load_settings
from realtime.errors import BundleError, ConfigError, RealtimeError, SessionError
from realtime.experiment.allocation import read_sealed
from realtime.experiment.arms import Arm, Tape
from realtime.experiment.design import DesignSettings, generate
from realtime.experiment.feedback import ladder
from realtime.experiment.phases import Phase
from realtime.experiment.run_design import RunDesign, read_run_design, seal_arm
from realtime.music.catalogue import Catalogue, read_catalogue
from realtime.music.onnx_embedder import OnnxEmbedder
from realtime.session.attempts import last_attempt
from realtime.session.events import check_design_fits, check_sounds
from realtime.session.folder import SessionFolder
from realtime.session.record import read_documents
from realtime.visit.plan import PlanSettings, RunSettings

N_TARGETS = 5
"""Clips that stand for a target in words: the nearest ones, since words lie a little apart from all music."""
T = TypeVar("T")


@dataclass(frozen=True, eq=False)
class Means:
    """What the designs of a visit are made from.

    Attributes
    ----------
    plan : PlanSettings
    bundle : Bundle
    catalogue : Catalogue
    arm : str
        The subject's.
    blinded : bool
        An allocation decided it.
    """

    plan: PlanSettings
    bundle: Bundle
    catalogue: Catalogue
    arm: Arm
    blinded: bool

    def bundle_path(self, run: RunSettings) -> Path:
        """Whose decoder a run's feedback comes from."""
        other = self.plan.control_bundle
        elsewhere = self.arm == "other region" and run.kind == "feedback"
        return other if elsewhere and other is not None else self.plan.bundle


def read_means(plan: PlanSettings) -> Means:
    """Bundle, catalogue and arm; RealtimeError for the first that is not as it should be."""
    bundle, catalogue = read_bundle(plan.bundle), read_catalogue(plan.catalogue)
    arm: Arm = "real" if plan.allocation is None else read_sealed(plan.allocation).arm_of(plan.subject)
    return Means(plan, bundle, catalogue, arm, plan.allocation is not None)


def make_run_design(means: Means, run: RunSettings, place: int) -> RunDesign:
    """The design of one run.

    Raises
    ------
    RealtimeError
        The design cannot be read, plays what there is not, is longer than the scan, or its target is not found.
    """
    plan = means.plan
    if run.design is None:
        still = Phase("rest", 0, run.n_volumes, 0.0, plan.acquisition.end_s(run.n_volumes - 1))
        return RunDesign(run.name, (still,), plan.acquisition, blinded=means.blinded)
    settings = load_settings(run.design, DesignSettings)
    made = RunDesign(run.name, generate(settings, plan.acquisition, run.seed), plan.acquisition,
                     settings.windows, settings.washout_s, blinded=means.blinded)
    if run.kind == "feedback":
        target, music = _target(means, run), means.catalogue
        rungs = ladder(music, target, run.feedback.rungs, music.embedding(target[0])) if target else ()
        made = replace(made, feedback=run.feedback, target=target, rungs=rungs, seed=run.seed,
                       tape=_tape(plan, run, place), sealed_arm=seal_arm(means.arm, run.seed))
    check_sounds(made, {clip.clip_id for clip in means.catalogue.clips})
    check_design_fits(made, run.n_volumes, means.bundle.manifest.preprocessing.tr_s)
    return made


def _target(means: Means, run: RunSettings) -> tuple[str, ...]:
    wanted = run.feedback.target
    if not wanted or wanted in means.catalogue:
        return (wanted,) if wanted else ()
    if means.plan.embedder is None:
        raise ConfigError(f"run {run.name!r}: target {wanted!r} is no clip of the catalogue, and words need the plan's "
                          "embedder; name a clip, or the embedder that indexed the catalogue")
    embedder = OnnxEmbedder.read(means.plan.embedder)
    check_space(means.bundle, embedder.space, f"embedder {means.plan.embedder}")
    found = means.catalogue.search(embedder.embed_text(wanted), N_TARGETS)
    return tuple(match.clip.clip_id for match in found)


def _tape(plan: PlanSettings, run: RunSettings, place: int) -> Tape:
    """The donor's feedback in the same run; the same for every arm, so that its presence tells nothing."""
    if plan.donor is None:
        return Tape()
    folder = SessionFolder(plan.donor / f"{place + 1:02}-{run.name}")
    documents = last_attempt(read_documents(folder.record))
    tape = Tape.from_steps(documents)
    if len(tape.scores) < run.n_volumes or read_run_design(folder.design).feedback.mode != run.feedback.mode:
        raise SessionError(f"donor {folder.path} has {len(tape.scores)} volumes of feedback, run {run.name!r} needs "
                           f"{run.n_volumes} with mode {run.feedback.mode!r}; name a complete visit with the same plan")
    return tape


def plan_problems(plan: PlanSettings) -> list[str]:
    """Everything that would stop the visit, a sentence each."""
    found: list[str] = []
    bundle = _attempt(found, lambda: read_bundle(plan.bundle))
    catalogue = _attempt(found, lambda: read_catalogue(plan.catalogue))
    arm = _attempt(found, lambda: _arm(plan))
    if bundle is not None:
        _attempt(found, lambda: check_bundle(plan, bundle))
    if bundle is None or catalogue is None:
        return found
    _attempt(found, lambda: check_space(bundle, catalogue.space, f"catalogue {plan.catalogue}"))
    means = Means(plan, bundle, catalogue, arm or "real", plan.allocation is not None)
    for place, run in enumerate(plan.runs):
        _attempt(found, lambda run=run, place=place: make_run_design(means, run, place))  # type: ignore[misc]
    return found


def _arm(plan: PlanSettings) -> Arm:
    """The subject's arm, with all that any of the arms needs: asked of everybody, so that nothing tells them apart."""
    if plan.allocation is None:
        return "real"
    sealed = read_sealed(plan.allocation)
    if "yoked" in sealed.arms and plan.donor is None:
        raise SessionError(f"allocation {plan.allocation} has a yoked arm, and the plan names no donor; name the "
                           "folder of another person's visit with this plan")
    if "other region" in sealed.arms and plan.control_bundle is None:
        raise SessionError(f"allocation {plan.allocation} has an arm with another region, and the plan names no "
                           "control_bundle; train one there")
    return sealed.arm_of(plan.subject)


def check_bundle(plan: PlanSettings, bundle: Bundle) -> None:
    """Refuse a bundle of another person or protocol, or a control that could be told from it; BundleError."""
    manifest = bundle.manifest
    problems = []
    if manifest.subject != plan.subject:
        problems.append(f"it was trained on subject {manifest.subject!r}, the plan is for {plan.subject!r}")
    tr_s = manifest.preprocessing.tr_s
    if abs(plan.acquisition.tr_s - tr_s) > 0.01 * tr_s:
        problems.append(f"it decodes runs of TR {tr_s:g} s, the plan's have {plan.acquisition.tr_s:g} s")
    if plan.control_bundle is not None:
        control = read_bundle(plan.control_bundle)
        if len(control.voxels) != len(bundle.voxels) or control.manifest.subject != manifest.subject:
            problems.append(f"control bundle {plan.control_bundle} has {len(control.voxels)} voxels of "
                            f"{control.manifest.subject!r}, wanted {len(bundle.voxels)} of {manifest.subject!r}: its "
                            "delays would tell the arm")
        if control.manifest.space != manifest.space:
            problems.append(f"control bundle {plan.control_bundle} predicts another embedding space")
    if problems:
        raise BundleError(f"bundle {plan.bundle} does not fit the plan: {'; '.join(problems)}; name the bundle of this "
                          "subject and protocol")


def _attempt(found: list[str], action: Callable[[], T]) -> T | None:
    try:
        return action()
    except RealtimeError as exc:
        found.append(str(exc))
        return None
