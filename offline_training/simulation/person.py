"""The one truth behind a simulated session: volumes and response arrays are two ways to look at it."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from offline_training.simulation.anatomy import PAD, Head, build_head
from offline_training.simulation.courses import session_rest
from offline_training.simulation.music import Music
from offline_training.simulation.order import RunPlan, plan_runs
from offline_training.simulation.phantom import build_phantom
from offline_training.simulation.response import Tuning, clip_features, evoked_signal, tune
from offline_training.simulation.scanner import Phantom
from offline_training.simulation.settings import SimulationSettings


@dataclass(frozen=True, eq=False)
class Person:
    """A simulated person, what they hear, and how they respond.

    Attributes
    ----------
    settings : SimulationSettings
    music : Music
    plans : tuple of RunPlan
        Training first.
    head : Head
    phantom : Phantom
    features : float64 array of shape (n_clips, n_features, 2)
        Of `clip_features`.
    tuning : Tuning
    """

    settings: SimulationSettings
    music: Music
    plans: tuple[RunPlan, ...]
    head: Head
    phantom: Phantom
    features: NDArray[np.float64]
    tuning: Tuning

    def evoked(self, plan: RunPlan) -> NDArray[np.float32]:
        """Relative signal change (n_volumes, n_auditory) that music evokes in a run."""
        slice_index = np.unravel_index(self.head.auditory, self.head.grey.shape)[0] - PAD
        slice_s = np.array(self.settings.scanner.slice_times_s())[slice_index]
        return evoked_signal(plan, self.features, self.tuning, slice_s, self.settings)

    def seeds(self) -> tuple[np.random.SeedSequence, ...]:
        """Of the noise and movement of each run, in the order of `plans`; new ones at every call."""
        together = np.random.SeedSequence([self.settings.seed, self.settings.subject.seed])
        return tuple(together.spawn(len(self.plans)))

    def rest(self, plan: RunPlan) -> NDArray[np.float64]:
        """Where the head lies in the session of a run, (6,) in mm and degrees."""
        return session_rest(self.settings.subject.seed, plan.session, self.settings.motion)


def make_person(music: Music, settings: SimulationSettings) -> Person:
    """Draw a person who hears `music`.

    Raises
    ------
    SimulationError
        Too few clips of a genre, or a field of view with too little auditory cortex.
    """
    head = build_head(settings.subject, settings.scanner)
    plans = plan_runs(music.genres, music.training, settings)
    with threadpool_limits(1):
        features = clip_features(music.embeddings, music.training, settings.subject)
        tuning = tune(head, plans, features, settings)
        phantom = build_phantom(head, settings.subject, settings.scanner)
    return Person(settings, music, plans, head, phantom, features, tuning)
