"""When volumes are acquired: without pause, with a silent gap in every repetition, or in clusters. Pure.

Silent gaps let a person hear, or imagine, without the scanner's noise (sparse and clustered acquisition: Hall et al.
1999, Schwarzbauer et al. 2006). Volumes are then not equally spaced; what asks for the time of a volume asks here.
"""

from dataclasses import dataclass

from realtime.errors import ConfigError


@dataclass(frozen=True)
class Acquisition:
    """How a run's volumes follow each other.

    Attributes
    ----------
    tr_s : float
        From the start of one volume to the next, within a cluster.
    silence_s : float
        Of every repetition, how much at its end is without gradients; 0 scans without pause.
    cluster_volumes : int
        Volumes in a row before a gap; 0 for a run without gaps.
    gap_s : float
        Silence after every cluster.
    """

    tr_s: float
    silence_s: float = 0.0
    cluster_volumes: int = 0
    gap_s: float = 0.0

    def __post_init__(self) -> None:
        checks = [(0.1 <= self.tr_s <= 60.0, f"acquisition.tr_s is {self.tr_s}, wanted 0.1 to 60"),
                  (0.0 <= self.silence_s < self.tr_s, f"acquisition.silence_s is {self.silence_s}, wanted 0 to less "
                   f"than the repetition time, {self.tr_s:g}"),
                  (self.cluster_volumes >= 0, f"acquisition.cluster_volumes is {self.cluster_volumes}, wanted 0 up"),
                  (0.0 <= self.gap_s <= 60.0, f"acquisition.gap_s is {self.gap_s}, wanted 0 to 60"),
                  ((self.gap_s > 0.0) == (self.cluster_volumes > 0), "acquisition.cluster_volumes and "
                   "acquisition.gap_s go together: give both, or neither")]
        problems = [problem for good, problem in checks if not good]
        if problems:
            raise ConfigError("; ".join(problems))

    def start_s(self, volume: int) -> float:
        """When a volume's acquisition begins, in seconds after the first one's."""
        gaps = volume // self.cluster_volumes if self.cluster_volumes else 0
        return volume * self.tr_s + gaps * self.gap_s

    def end_s(self, volume: int) -> float:
        """When its gradients fall silent; 0 for volume -1, the moment before the run."""
        return 0.0 if volume < 0 else self.start_s(volume) + self.tr_s - self.silence_s

    @property
    def mean_interval_s(self) -> float:
        """From volume to volume, gaps included."""
        return self.tr_s + (self.gap_s / self.cluster_volumes if self.cluster_volumes else 0.0)

    @property
    def longest_interval_s(self) -> float:
        """How long to wait for the next volume at most."""
        return self.tr_s + self.gap_s

    def n_volumes(self, duration_s: float) -> int:
        """The volumes that a stretch of this length takes, at least one."""
        return max(1, round(duration_s / self.mean_interval_s))
