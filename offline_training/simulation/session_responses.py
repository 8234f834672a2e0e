"""A simulated session as response arrays: what perfect alignment would sample from the volumes, without making them.

The person, the courses of a run and its events are those of the volumes; what is drawn for each voxel is another
draw of the same noise. What movement does to the signal is its artefact alone: nothing is resampled.
"""

from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from offline_training.responses import Responses
from offline_training.simulation.array_scaling import SampledRun, filtered_as_published, scaled_causally
from offline_training.simulation.courses import run_courses
from offline_training.simulation.music import EmbeddingSettings, Music, embedded_music
from offline_training.simulation.order import RunPlan
from offline_training.simulation.parcels import Parcels, parcellate
from offline_training.simulation.person import Person, make_person
from offline_training.simulation.scanner import AR_OWN, T1_VOLUMES, fresh_magnetisation, run_generators
from offline_training.simulation.settings import ScannerSettings, SimulationSettings, SubjectSettings
from realtime.preprocessing import PreprocessorSettings
from realtime.session.events import Event

DS003720 = SimulationSettings(
    clip_s=15.0, n_training_runs=12, n_test_runs=6, blocks_per_training_run=4, cycles_per_test_run=4, tail_volumes=0,
    n_sessions=3, extra_clips_per_genre=0, subject=SubjectSettings(), scanner=ScannerSettings(tr_s=1.5))
"""The experiment of ds003720: 18 runs of 410 volumes in three sessions, 480 training and 60 test clips.

The grid is coarser than there (64×64×36 at 3×3×3.5 mm instead of 96×96×68 at 2 mm), so that the same person can be
scanned as volumes within minutes.
"""


@dataclass(frozen=True)
class ResponseSettings:
    """What to simulate.

    Attributes
    ----------
    session : SimulationSettings
        Experiment, person, movement and scanner; its seeds are replaced.
    space : EmbeddingSettings
        Of the music, where none is given.
    n_other_regions : int
        Regions outside auditory cortex, which respond to nothing; Destrieux's atlas has some 150 in all.
    voxels_per_other_region : int
    preprocessing : PreprocessorSettings
        Of the scaler; alignment is perfect.
    gain : float
        Of everything that music evokes in test runs: below 1, imagery-like weakening with the same code.
    """

    session: SimulationSettings = DS003720
    space: EmbeddingSettings = field(default_factory=EmbeddingSettings)
    n_other_regions: int = 0
    voxels_per_other_region: int = 100
    preprocessing: PreprocessorSettings = field(default_factory=PreprocessorSettings)
    gain: float = 1.0


@dataclass(frozen=True, eq=False)
class SimulatedSamples:
    """Aligned samples of all runs, in order of acquisition, before any scaling."""

    person: Person
    parcels: Parcels
    runs: tuple[SampledRun, ...]


@dataclass(frozen=True, eq=False)
class SimulatedResponses:
    """Responses, and what a real scan would not tell.

    Attributes
    ----------
    responses : Responses
        Over all voxels; regions are named, the first six are auditory.
    music : Music
        Clips heard, with genres and embeddings.
    fraction : float64 array of shape (n_voxels,)
        Share of a voxel's variance that music explains, before drift, movement and physiology; 0 outside
        auditory cortex.
    peak_s : float64 array of shape (n_voxels,)
        Time to peak of the response; NaN where there is none.
    """

    responses: Responses
    music: Music
    fraction: NDArray[np.float64]
    peak_s: NDArray[np.float64]


def simulate_responses(settings: ResponseSettings | None = None, seed: int = 0,
                       music: Music | None = None) -> SimulatedResponses:
    """One person's session through the live scaler: causal features, as the live program has them.

    Parameters
    ----------
    settings : ResponseSettings, optional
        The calibrated person in the experiment of ds003720 when left out.
    seed : int
        Of everything: music, order, person, noise.
    music : Music, optional
        Clips of a corpus in place of embedded ones; the person's tuning is made in the space of these.

    Raises
    ------
    SimulationError
        Settings that no scan could have, or too few clips.
    """
    settings = settings or ResponseSettings()
    sampled = simulate_samples(settings, seed, music)
    preprocessing = replace(settings.preprocessing, tr_s=settings.session.scanner.tr_s)
    return with_truth(sampled, scaled_causally(sampled.runs, sampled.parcels.regions, sampled.parcels.names,
                                               preprocessing))


def simulate_published_responses(settings: ResponseSettings | None = None, seed: int = 0,
                                 music: Music | None = None) -> SimulatedResponses:
    """The same samples as `simulate_responses` has, filtered offline as Brain2Music did: it sees the future."""
    settings = settings or ResponseSettings()
    sampled = simulate_samples(settings, seed, music)
    return with_truth(sampled, filtered_as_published(sampled.runs, sampled.parcels.regions, sampled.parcels.names,
                                                     settings.session.scanner.tr_s))


def simulate_samples(settings: ResponseSettings, seed: int, music: Music | None = None) -> SimulatedSamples:
    """Samples of all runs; parameters and errors as `simulate_responses`."""
    session = replace(settings.session, seed=seed, subject=replace(settings.session.subject, seed=seed))
    music = music or embedded_music(session, settings.space)
    person = make_person(music, session)
    parcels = parcellate(person.head, seed, settings.n_other_regions, settings.voxels_per_other_region)
    runs = [(plan.place, sample_responses(person, plan, run_seed, parcels.voxels, settings.gain))
            for plan, run_seed in zip(person.plans, person.seeds(), strict=True)]
    return SimulatedSamples(person, parcels, tuple(run for _, run in sorted(runs, key=lambda pair: pair[0])))


def sample_responses(person: Person, plan: RunPlan, seed: np.random.SeedSequence, voxels: NDArray[np.int64],
                     gain: float = 1.0) -> SampledRun:
    """Samples of one run at some voxels of the head, the auditory ones first."""
    subject, scanner, phantom = person.settings.subject, person.settings.scanner, person.phantom
    slow, fast = run_generators(seed)
    evoked = person.evoked(plan) * np.float32(gain if plan.task == "Test" else 1.0)
    courses = run_courses(slow, len(evoked), phantom.affine, person.settings.motion, scanner, person.rest(plan))
    place = np.searchsorted(phantom.brain, voxels)
    inside = phantom.brain[np.minimum(place, len(phantom.brain) - 1)] == voxels
    maps = np.where(inside, phantom.maps[:, np.minimum(place, len(phantom.brain) - 1)], np.float32(0))
    change = courses.weights[:, : len(maps)] @ maps
    change[:, : evoked.shape[1]] += evoked
    z, y, x = (axis - phantom.pad for axis in np.unravel_index(voxels, phantom.fluid.shape))
    change += phantom.respiration.reshape(-1)[voxels] * courses.respiration[:, z]
    change += phantom.pulse.reshape(-1)[voxels] * courses.pulse[:, z]
    fluid = phantom.fluid.reshape(-1)[voxels]
    for t in range(T1_VOLUMES):
        change[t] += fresh_magnetisation(fluid, t) * (1 + change[t])
    brightness = person.head.intensity.reshape(-1)[voxels] * phantom.gain[z, y, x]
    own, thermal = _voxel_noise(fast, change.shape, phantom.noise_level[z, y, x], subject)
    samples = brightness * (1 + change) * (1 + own) + np.float32(scanner.intensity) * thermal
    return SampledRun(plan.run_id, plan.session, plan.task == "Test", samples.astype(np.float32),
                      courses.displacement_mm, _events(person, plan))


def _voxel_noise(rng: np.random.Generator, shape: tuple[int, int], level: NDArray[np.float32],
                 subject: SubjectSettings) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """AR(1) noise of each voxel, relative to its signal, and thermal noise, relative to grey matter."""
    total = 0.01 * subject.noise_percent
    own = rng.standard_normal(shape, np.float32)
    for t in range(1, shape[0]):
        own[t] = AR_OWN * own[t - 1] + np.float32(np.sqrt(1 - AR_OWN**2)) * own[t]
    own *= np.float32(total * np.sqrt(max(0.0, 1 - subject.shared_noise - subject.thermal_noise))) * level
    return own, np.float32(total * np.sqrt(subject.thermal_noise)) * rng.standard_normal(shape, np.float32)


def _events(person: Person, plan: RunPlan) -> tuple[Event, ...]:
    clip_s, music = person.settings.clip_s, person.music
    return tuple(Event(place * clip_s, clip_s, music.clip_ids[row], music.genres[row], is_dummy=place == 0)
                 for place, row in enumerate(plan.clips))


def with_truth(sampled: SimulatedSamples, responses: Responses) -> SimulatedResponses:
    """Responses with the truth about their voxels."""
    tuning, n = sampled.person.tuning, len(sampled.parcels.voxels)
    fraction, peak_s = np.zeros(n), np.full(n, np.nan)
    fraction[: len(tuning.fraction)], peak_s[: len(tuning.peak_s)] = tuning.fraction, tuning.peak_s
    return SimulatedResponses(responses, sampled.person.music, fraction, peak_s)
