"""What the pages are made of: values of the template, all of them words already."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Tile:
    """One figure worth a glance."""

    figure: str
    label: str


@dataclass(frozen=True)
class Banner:
    """What a reader has to know before anything else."""

    heading: str
    text: str


@dataclass(frozen=True)
class Part:
    """One section with a picture; without one, `text` says why."""

    heading: str
    text: str
    image: str = ""
    alt: str = ""


@dataclass(frozen=True)
class Row:
    """One line of the table of trials."""

    number: int
    clip_id: str
    genre: str
    colour: str
    best_clip: str
    decoded_genre: str
    decoded_colour: str
    posterior: str
    n_volumes: int
    score: str
    remark: str
