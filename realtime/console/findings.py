"""The preflight as a list: links in the order in which a volume passes them, and what was found of each. Pure."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Literal

Mark = Literal["good", "bad", "open", "running"]
LINKS = ("scanner", "share and port", "bridge", "decoder", "audio", "broker", "dry run")


@dataclass(frozen=True)
class Finding:
    """What was found of a link.

    Attributes
    ----------
    link : str
        One of `LINKS`.
    mark : {"good", "bad", "open", "running"}
        In order; broken; not checked, and why in the sentence; being checked.
    sentence : str
        What is there, or what is broken and how to mend it.
    """

    link: str
    mark: Mark
    sentence: str = ""


@dataclass(frozen=True)
class Check:
    """One link's check; `look` returns what is there, or raises one of the given errors with what is broken.

    A look that cannot say returns a `Finding` of its own.
    """

    link: str
    look: Callable[[], "str | Finding"]


def walk(checks: Iterable[Check], errors: tuple[type[Exception], ...]) -> Iterator[Finding]:
    """Findings, one after the other, in the order given; a broken link does not end the walk."""
    for check in checks:
        try:
            found = check.look()
        except errors as exc:
            yield Finding(check.link, "bad", " ".join(str(exc).split()))
            continue
        yield found if isinstance(found, Finding) else Finding(check.link, "good", found)


def first_broken(findings: Iterable[Finding]) -> Finding | None:
    """Where to begin."""
    return next((finding for finding in findings if finding.mark == "bad"), None)


def nothing_checked() -> tuple[Finding, ...]:
    """Before anybody has looked."""
    return tuple(Finding(link, "open") for link in LINKS)
