"""What counts as evidence, and how sure it must be: the part of decoding that a session may choose.

All of it is kept in the session's folder and written into the head of its record, so that a replay judges by what held
then.
"""

from dataclasses import dataclass, field
from typing import Literal

from realtime.decoding.posterior import Posterior
from realtime.errors import ConfigError
from realtime.reliability import ANY_SIZE, HEARD

Subject = Literal["clip", "genre"]
Mode = Literal["trials", "free_run"]
Response = Literal["heard", "imagined"]
_RESPONSES: dict[str, Response] = {"listen": "heard", "imagine": "imagined", "catch": "imagined"}


@dataclass(frozen=True)
class FreeRunSettings:
    """A run without onsets (`realtime.decoding.free_run`).

    Attributes
    ----------
    window_volumes : int
        A segment's evidence is of so many volumes at most, the last ones.
    change_odds : float
        A new segment begins when something new is so many times as probable as that the same goes on.

    Raises
    ------
    ConfigError
        Values out of range; all are named at once.
    """

    window_volumes: int = 20
    change_odds: float = 5.0

    def __post_init__(self) -> None:
        problems = []
        if not 3 <= self.window_volumes <= 1000:
            problems.append(f"decoding.free_run.window_volumes is {self.window_volumes}, wanted 3 to 1000 volumes")
        if not 1.0 <= self.change_odds <= 1e6:
            problems.append(f"decoding.free_run.change_odds is {self.change_odds}, wanted 1 to 1000000: what is less "
                            "probable than that the same goes on must never begin a segment")
        if problems:
            raise ConfigError("; ".join(problems))


@dataclass(frozen=True)
class DecodingSettings:
    """How a session decodes.

    Attributes
    ----------
    mode : {"trials", "free_run"}
        trials: evidence gathers over trials, whose onsets are known or marked; free_run: over segments that it finds by
        itself.
    least_confidence : float
        Below this posterior a decision abstains: what plays goes on. 0 never abstains. `innerear evaluate` tells which
        value keeps which share of trials.
    sure_of : {"clip", "genre"}
        Whose posterior that is: the best clip's, or the best genre's. Music without genres is judged by its clip.
    motion_limit_mm : float or None
        Framewise displacement above which a volume is no evidence and teaches the running mean nothing, in place of
        the bundle's own (`censor_fd_mm`); None keeps that.
    response : {"heard", "imagined"}
        What trials that do not say so themselves, and the segments of a free run, are responses to. Those to something
        imagined may be of any size from none to that of hearing, and the posterior promises as much less (ADR 0049).
    free_run : FreeRunSettings
        For that mode alone.

    Raises
    ------
    ConfigError
        Values out of range; all are named at once.
    """

    mode: Mode = "trials"
    least_confidence: float = 0.0
    sure_of: Subject = "clip"
    motion_limit_mm: float | None = None
    response: Response = "heard"
    free_run: FreeRunSettings = field(default_factory=FreeRunSettings)

    def __post_init__(self) -> None:
        problems = []
        if not 0.0 <= self.least_confidence < 1.0:
            problems.append(f"decoding.least_confidence is {self.least_confidence}, wanted 0 (never abstain) to less "
                            "than 1: a posterior of 1 is never reached; `innerear evaluate` tells what to expect of it")
        if self.motion_limit_mm is not None and not 0.01 <= self.motion_limit_mm <= 20.0:
            problems.append(f"decoding.motion_limit_mm is {self.motion_limit_mm}, wanted 0.01 to 20 mm, or leave it "
                            "out for the bundle's own limit")
        if problems:
            raise ConfigError("; ".join(problems))

    def response_of(self, trial_type: str) -> Response:
        """What a trial of this type is a response to; a type that does not say so is as the settings have it."""
        return _RESPONSES.get(trial_type, self.response)

    def sizes(self, trial_type: str) -> tuple[float, ...]:
        """How large the response of such a trial, or of a segment, may be: known only where a trial was heard."""
        known = self.mode == "trials" and self.response_of(trial_type) == "heard"
        return HEARD if known else ANY_SIZE

    def abstains(self, belief: Posterior) -> bool:
        """Whether this posterior is not sure enough to decide by."""
        best = belief.genres[0]
        by_clip = self.sure_of == "clip" or not best.genre
        return (belief.confidence if by_clip else best.posterior) < self.least_confidence
