"""How music is made in a session: played from the corpus, or generated, and by what."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

from realtime.errors import ConfigError

Kind = Literal["retrieval", "director", "model", "bank", "worker"]


@dataclass(frozen=True)
class GeneratorSettings:
    """How music is made.

    Attributes
    ----------
    kind : str
        "retrieval" plays the corpus's clips; "director" has the synthesiser play the theme whose music is nearest to
        the decoded embedding; "model" lets the token model write on such a theme; "bank" plays clips that were
        rendered ahead; "worker" asks another process.
    folder : Path or None
        director, model: what `innerear generator train` made. bank: a corpus folder; None for the session's own.
    seed : int
        Of all that the condition leaves open.
    snap : float
        Sharpness with which a decoded embedding is drawn to the corpus before it conditions; 0 for not at all.
    anchored : bool
        director, model: begin from the theme of the clip that retrieval would play.
    worker : str
        ZeroMQ endpoint of the worker, on this machine unless the network is trusted.
    deadline_s : float
        What the worker may take for a chunk before the corpus is played in its place.
    """

    kind: Kind = "retrieval"
    folder: Path | None = None
    seed: int = 0
    snap: float = 20.0
    anchored: bool = False
    worker: str = ""
    deadline_s: float = 0.15

    def __post_init__(self) -> None:
        needs_folder = self.kind in ("director", "model")
        checks = [
            (self.kind in get_args(Kind), f"kind is {self.kind!r}, wanted one of {', '.join(get_args(Kind))}"),
            (not needs_folder or self.folder is not None, f"kind {self.kind!r} needs folder: what `innerear generator "
                                                          "train` made"),
            (self.kind != "worker" or "://" in self.worker, f"worker is {self.worker!r}, wanted a ZeroMQ endpoint such "
                                                            "as tcp://127.0.0.1:5600"),
            (0 <= self.seed < 2**63, f"seed is {self.seed}, wanted 0 or more"),
            (0.0 <= self.snap <= 1000.0, f"snap is {self.snap}, wanted 0 to 1000"),
            (0.01 <= self.deadline_s <= 0.25, f"deadline_s is {self.deadline_s}, wanted 0.01 to 0.25: the player's "
                                              "look-ahead is 0.3 s"),
        ]
        problems = [problem for good, problem in checks if not good]
        if problems:
            raise ConfigError(f"generator: {'; '.join(problems)}")
