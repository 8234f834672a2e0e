"""Who is in which arm, in an envelope: balanced by seed, sealed by a commitment, opened on the record.

The envelope is paper, not steel: its content is encoded so that nobody reads an arm in passing, and whoever wants to
can decode it. It keeps honest people blind, needs no key that could be lost with the data, and shows what happened to
it: the commitment tells that no arm was changed, `opened` tells who unblinded what for, and why.
"""

import base64
import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from realtime.atomic import write_json
from realtime.errors import SessionError
from realtime.experiment.arms import ARMS, Arm

FORMAT = 1


@dataclass(frozen=True)
class Opening:
    """An unblinding.

    Attributes
    ----------
    at : str
        When, ISO 8601 in UTC.
    by : str
        Who.
    reason : str
        Why.
    """

    at: str
    by: str
    reason: str


@dataclass(frozen=True)
class Allocation:
    """A sealed allocation.

    Attributes
    ----------
    arms : tuple of str
        Those that may come; no secret.
    codes : tuple of str
        Of the people, in order; no secret.
    envelope : str
        Which arm each of them is in, encoded.
    commitment : str
        SHA-256 of the envelope's content.
    opened : tuple of Opening
        Empty while it is sealed.
    """

    arms: tuple[Arm, ...]
    codes: tuple[str, ...]
    envelope: str
    commitment: str
    opened: tuple[Opening, ...] = ()

    def arm_of(self, code: str) -> Arm:
        """The arm of a person, for the program to run; SessionError for one who is not in it."""
        if code not in self.codes:
            raise SessionError(f"subject {code!r} is not in the allocation, which has {len(self.codes)}: "
                               f"{', '.join(self.codes[:5])}...; correct the plan's subject, or allocate them")
        arm: Arm = _content(self)["arms"][self.codes.index(code)]
        return arm

    def unblinded(self, opening: Opening) -> "Allocation":
        """The same, opened."""
        return replace(self, opened=(*self.opened, opening))

    def all_arms(self) -> dict[str, Arm]:
        """Every person's arm; SessionError while it is sealed."""
        if not self.opened:
            raise SessionError("the allocation is sealed: open it with `innerear allocation open`, which is recorded")
        return dict(zip(self.codes, _content(self)["arms"], strict=True))


def allocate(codes: Sequence[str], arms: Sequence[Arm], seed: int) -> Allocation:
    """Put people into arms in random permuted blocks, one of each arm in every block.

    Raises
    ------
    SessionError
        A code comes twice, an arm is not known, or there are fewer than two.
    """
    unknown = [arm for arm in arms if arm not in ARMS]
    if unknown or len(set(arms)) < 2 or len(set(codes)) != len(codes) or not codes:
        raise SessionError(f"an allocation of {len(codes)} subjects to {list(arms)} cannot be made: wanted subjects, "
                           f"each once, and two or more of {', '.join(ARMS)}")
    rng = np.random.default_rng([seed, 0xA110C])
    drawn: list[Arm] = []
    while len(drawn) < len(codes):
        drawn += [arms[place] for place in rng.permutation(len(arms))]
    salt = rng.bytes(16).hex()
    content = _bytes({"salt": salt, "codes": list(codes), "arms": drawn[:len(codes)]})
    return Allocation(tuple(arms), tuple(codes), base64.b85encode(content[::-1]).decode(),
                      hashlib.sha256(content).hexdigest())


def write_allocation(path: Path, allocation: Allocation) -> None:
    """Write the file, atomically."""
    write_json(path, {"format": FORMAT, **asdict(allocation)})


def read_allocation(path: Path) -> Allocation:
    """Read it, and check that the envelope is the one that was sealed.

    Raises
    ------
    SessionError
        No such file, no allocation, or one that was changed.
    """
    try:
        document: dict[str, Any] = json.loads(path.read_bytes())
        if document.pop("format") != FORMAT:
            raise ValueError(f"another format than {FORMAT}")
        opened = tuple(Opening(**each) for each in document.pop("opened"))
        allocation = Allocation(**{**document, "arms": tuple(document["arms"]), "codes": tuple(document["codes"])},
                                opened=opened)
    except (OSError, ValueError, KeyError, TypeError) as exc:
        raise SessionError(f"{path} is not a readable allocation ({exc}); make one with: innerear "
                           "allocation make") from exc
    if hashlib.sha256(_raw(allocation)).hexdigest() != allocation.commitment or \
            _content(allocation)["codes"] != list(allocation.codes):
        raise SessionError(f"allocation {path} was changed: its content does not fit its commitment "
                           f"{allocation.commitment[:12]}; use the file as it was sealed")
    return allocation


def read_sealed(path: Path) -> Allocation:
    """Read one that nobody has opened.

    Raises
    ------
    SessionError
        As `read_allocation`, or it was opened.
    """
    allocation = read_allocation(path)
    if allocation.opened:
        first = allocation.opened[0]
        raise SessionError(f"allocation {path} was opened at {first.at} by {first.by} ({first.reason}): nobody is "
                           "blind any more; run without arms, or allocate the subjects who are still to come anew")
    return allocation


def _bytes(content: dict[str, Any]) -> bytes:
    return json.dumps(content, sort_keys=True, separators=(",", ":")).encode()


def _raw(allocation: Allocation) -> bytes:
    try:
        return base64.b85decode(allocation.envelope)[::-1]
    except ValueError:
        return b""


def _content(allocation: Allocation) -> dict[str, Any]:
    content: dict[str, Any] = json.loads(_raw(allocation))
    return content
