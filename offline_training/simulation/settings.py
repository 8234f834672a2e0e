"""Settings of a simulated session: the person, the head's movement, the scanner, and the experiment."""

from dataclasses import dataclass, field, fields
from typing import Any

from offline_training.errors import SimulationError


def _check(settings: Any, limits: dict[str, tuple[float, float]]) -> None:
    """Raise for every field outside its limits, all at once."""
    problems = [f"{name} is {value!r}, wanted {low:g} to {high:g}" for name, (low, high) in limits.items()
                if not low <= (value := getattr(settings, name)) <= high]
    if problems:
        raise SimulationError(f"{type(settings).__name__} cannot be simulated: {'; '.join(problems)}; correct them")


@dataclass(frozen=True)
class SubjectSettings:
    """The person. The defaults reproduce published decoding accuracy on 1460 voxels.

    A voxel that sees the whole embedding through independent noise is decoded far too well; what limits
    real decoding is that the brain shows few dimensions of it, that most of what music evokes is
    something else, and that noise is shared between voxels.

    Attributes
    ----------
    seed : int
        Of anatomy, tuning and noise maps.
    stimulus_fraction : float
        Mean over auditory voxels of the share of variance that music explains; exponentially
        distributed, at most 0.5. 0 is a person who hears nothing.
    n_components : int
        Principal components of the embedding the brain responds to.
    unexplained : float
        Share of the music's variance that is not linear in the embedding.
    n_other_features : int
        Random features of a clip that make up that share.
    n_auditory : int
        Voxels that respond, half in each hemisphere.
    hrf_peak_s, hrf_peak_sd_s : float
        Time to peak of the response, over voxels.
    onset_transient : float
        How much stronger the response to a clip is at its onset than once it has adapted, which it does
        within seconds; 0 for a response that does not adapt.
    sound_response : float
        Variance of the response to sound as such, which is the same for every clip, as a share of the
        variance that music evokes; it follows the onsets only where there are transients.
    session_change : float
        Share of a voxel's tuning that is another one in each scanning session.
    noise_percent : float
        Standard deviation of the noise in grey matter, per cent of its intensity.
    noise_variation : float
        Standard deviation of the logarithm of the noise's size over the brain, smooth in space.
    shared_noise, thermal_noise : float
        Shares of the noise variance that is shared between voxels, and white; the rest is AR(1)
        of each voxel, coefficient 0.4.
    drift : float
        Amplitude of the slow drift, in noise standard deviations.
    respiration_percent, cardiac_percent : float
        Amplitude of the physiological noise where it is largest.
    artefact_percent : float
        Standard deviation of the signal change at the edges of the anatomy for each mm or degree that the
        head has moved, and for each that it moves from one volume to the next: stands for distortion
        and spin history, which alignment cannot undo.
    """

    seed: int = 0
    stimulus_fraction: float = 0.09
    n_components: int = 6
    unexplained: float = 0.8
    n_other_features: int = 20
    n_auditory: int = 1460
    hrf_peak_s: float = 4.7
    hrf_peak_sd_s: float = 0.8
    onset_transient: float = 0.2
    sound_response: float = 0.2
    session_change: float = 0.1
    noise_percent: float = 1.4
    noise_variation: float = 0.3
    shared_noise: float = 0.6
    thermal_noise: float = 0.1
    drift: float = 0.6
    respiration_percent: float = 0.3
    cardiac_percent: float = 0.8
    artefact_percent: float = 0.5

    def __post_init__(self) -> None:
        _check(self, {"seed": (0, 2**32), "stimulus_fraction": (0, 0.5), "n_components": (1, 1000),
                      "unexplained": (0, 1), "n_other_features": (1, 1000), "n_auditory": (2, 100000),
                      "hrf_peak_s": (2, 9), "hrf_peak_sd_s": (0, 2), "noise_percent": (0.01, 20),
                      "onset_transient": (0, 10), "sound_response": (0, 10), "session_change": (0, 1),
                      "noise_variation": (0, 1), "shared_noise": (0, 1), "thermal_noise": (0, 1 - self.shared_noise),
                      "drift": (0, 10),
                      "respiration_percent": (0, 10), "cardiac_percent": (0, 10), "artefact_percent": (0, 10)})


DEMO_SUBJECT = SubjectSettings(stimulus_fraction=0.2, unexplained=0.5, n_auditory=1200, hrf_peak_s=4.2,
                               hrf_peak_sd_s=0.6, onset_transient=0.0, sound_response=0.0, session_change=0.0,
                               noise_variation=0.0, artefact_percent=0.0)
"""A person who responds far more clearly than a real one: the demo has 100 training clips, ds003720 has 480.

Leave-one-run-out identification (chance 0.5) on the session of the demo: 0.85 with this person, near chance with a
calibrated one, who needs the 480 clips of 12 runs.
"""


@dataclass(frozen=True)
class MotionSettings:
    """Rigid movement of the head. Rotations in degrees have the size of the translations in mm.

    Attributes
    ----------
    offset_mm : float
        Standard deviation of where the head lies at the start of a run.
    session_mm : float
        Standard deviation of where it lies in one scanning session against another.
    drift_mm : float
        Standard deviation of the slow movement over a run.
    walk_mm : float
        Random walk, standard deviation of the step in one second.
    jerks_per_min, jerk_mm : float
        Sudden movements and their mean size; half of each is taken back within seconds.
    breathing_mm : float
        Amplitude along the body.
    nod_mm : float
        Mean size of a nod at the start of every clip, taken back within seconds.
    nod_every_s : float
        Length of a clip.
    """

    offset_mm: float = 0.4
    drift_mm: float = 0.3
    walk_mm: float = 0.015
    jerks_per_min: float = 0.3
    jerk_mm: float = 0.4
    breathing_mm: float = 0.03
    nod_mm: float = 0.0
    nod_every_s: float = 10.0
    session_mm: float = 2.0

    def __post_init__(self) -> None:
        limits = {item.name: (0.0, 20.0) for item in fields(self)}
        _check(self, limits | {"nod_every_s": (1.0, 120.0)})


@dataclass(frozen=True)
class ScannerSettings:
    """The scanner.

    Attributes
    ----------
    shape : tuple of int
        Voxels along x, y and z.
    voxel_mm : tuple of float
        Their size.
    tr_s : float
        Repetition time.
    multiband : int
        Slices acquired at once; must divide the number of slices.
    tilt_deg : float
        Rotation of the slices about the x axis: real runs are oblique.
    intensity : float
        Of grey matter.
    bias : float
        Relative depth of the receive field, fixed in the scanner.
    """

    shape: tuple[int, int, int] = (64, 64, 36)
    voxel_mm: tuple[float, float, float] = (3.0, 3.0, 3.5)
    tr_s: float = 1.0
    multiband: int = 3
    tilt_deg: float = 8.0
    intensity: float = 900.0
    bias: float = 0.25

    def __post_init__(self) -> None:
        _check(self, {"tr_s": (0.1, 20), "multiband": (1, 64), "tilt_deg": (-45, 45), "intensity": (50, 10000),
                      "bias": (0, 0.9)})
        if len(self.shape) != 3 or min(self.shape) < 8 or max(self.shape) > 512:
            raise SimulationError(f"shape is {self.shape}, wanted three numbers from 8 to 512; correct it")
        if len(self.voxel_mm) != 3 or min(self.voxel_mm) < 0.5 or max(self.voxel_mm) > 12:
            raise SimulationError(f"voxel_mm is {self.voxel_mm}, wanted three sizes from 0.5 to 12 mm; correct it")
        if self.shape[2] % self.multiband:
            raise SimulationError(f"{self.shape[2]} slices cannot be acquired {self.multiband} at a time; choose a "
                                  "multiband factor that divides them")

    def slice_times_s(self) -> tuple[float, ...]:
        """Acquisition time of each slice within the TR: even shots, then odd ones."""
        shots = self.shape[2] // self.multiband
        order = [*range(0, shots, 2), *range(1, shots, 2)]
        return tuple(order.index(index % shots) * self.tr_s / shots for index in range(self.shape[2]))


@dataclass(frozen=True)
class SimulationSettings:
    """A whole session; the defaults are the demo's, with DEMO_SUBJECT rather than a realistic person.

    Attributes
    ----------
    seed : int
        Of the music, the order of the clips, and each run's noise and movement.
    clip_s : float
        What is heard of a clip; a whole number of TRs.
    n_training_runs, n_test_runs : int
        Runs.
    blocks_per_training_run : int
        Blocks of ten clips, one per genre; the run starts with one more, the dummy.
    cycles_per_test_run : int
        How often the ten clips of a test run are repeated; again after a dummy.
    tail_volumes : int
        Volumes after the last clip, so that its response is whole.
    n_sessions : int
        Scanning sessions that the runs are spread over; 12 training and 6 test runs in three follow
        the published order.
    extra_clips_per_genre : int
        Clips in the corpus that are never heard.
    n_workers : int
        Processes.
    subject, motion, scanner
        See there.
    """

    seed: int = 0
    clip_s: float = 10.0
    n_training_runs: int = 5
    n_test_runs: int = 1
    blocks_per_training_run: int = 2
    cycles_per_test_run: int = 1
    tail_volumes: int = 5
    n_sessions: int = 1
    extra_clips_per_genre: int = 1
    n_workers: int = 2
    subject: SubjectSettings = DEMO_SUBJECT
    motion: MotionSettings = field(default_factory=MotionSettings)
    scanner: ScannerSettings = field(default_factory=ScannerSettings)

    def __post_init__(self) -> None:
        _check(self, {"seed": (0, 2**32), "clip_s": (2, 120), "n_training_runs": (1, 100), "n_test_runs": (0, 100),
                      "blocks_per_training_run": (1, 50), "cycles_per_test_run": (1, 50), "tail_volumes": (0, 1000),
                      "n_sessions": (1, self.n_training_runs + self.n_test_runs),
                      "extra_clips_per_genre": (0, 10000), "n_workers": (1, 256)})
        volumes = self.clip_s / self.scanner.tr_s
        if abs(volumes - round(volumes)) > 1e-6:
            raise SimulationError(f"a clip of {self.clip_s:g} s is {volumes:g} volumes at TR {self.scanner.tr_s:g} s; "
                                  "choose a clip_s that is a whole number of TRs")

    def n_volumes(self, n_clips: int) -> int:
        """Volumes of a run of so many clips, the dummy included."""
        return round(n_clips * self.clip_s / self.scanner.tr_s) + self.tail_volumes
