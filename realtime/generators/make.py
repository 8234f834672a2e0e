"""From settings to a generator: the one place that chooses among them."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from realtime.errors import GeneratorError, SpaceMismatchError
from realtime.generators.anchors import CorpusAnchors
from realtime.generators.bank import Bank
from realtime.generators.choice import Anchors
from realtime.generators.director import Director
from realtime.generators.score_generator import ScoreGenerator
from realtime.generators.settings import GeneratorSettings
from realtime.generators.themes import Themes
from realtime.generators.token_composer import TokenComposer
from realtime.generators.token_model import read_spec, read_token_model
from realtime.generators.worker_generator import WorkerGenerator
from realtime.generators.worker_link import WorkerLink
from realtime.messages import EmbeddingSpace
from realtime.music.catalogue import read_catalogue
from realtime.playback.clips import ClipLibrary
from realtime.playback.settings import RATE_HZ
from realtime.ports import Generator


@dataclass(frozen=True)
class Made:
    """A generator, and what it says of itself in the diary."""

    generator: Generator
    about: dict[str, Any]


def make_generator(settings: GeneratorSettings, corpus: Path) -> Made:
    """The generator that the settings ask for.

    Parameters
    ----------
    settings : GeneratorSettings
        Of any kind but "retrieval".
    corpus : Path
        The session's catalogue: what a bank without a folder plays, a worker falls back to, and anchors are.

    Raises
    ------
    GeneratorError, CatalogueError, PlaybackError
        Something it needs is missing or damaged.
    SpaceMismatchError
        Its conditions are of another space than the corpus.
    """
    about: dict[str, Any] = {"kind": settings.kind, "seed": settings.seed, "rate_hz": RATE_HZ}
    folder = settings.folder or corpus
    generator: Generator
    if settings.kind == "director":
        about["files"] = read_spec(folder).get("sha256", {})
        themes = Themes.load(folder / "themes.npz")
        generator = ScoreGenerator(Director(themes, settings.seed, _anchors(settings, themes, corpus)), RATE_HZ)
    elif settings.kind == "model":
        about["files"] = read_spec(folder).get("sha256", {})
        themes = Themes.load(folder / "themes.npz")
        generator = ScoreGenerator(TokenComposer(
            read_token_model(folder), themes, settings.seed, _anchors(settings, themes, corpus)), RATE_HZ)
    elif settings.kind == "bank":
        generator = make_bank(folder)
    elif settings.kind == "worker":
        generator = WorkerGenerator(WorkerLink(settings.worker), make_bank(corpus), settings.seed,
                                    settings.deadline_s)
    else:
        raise GeneratorError(f"kind {settings.kind!r} generates nothing; wanted director, model, bank or worker")
    check_same_space(generator.space, corpus)
    return Made(generator, {**about, "space": vars(generator.space)})


def check_generator(settings: GeneratorSettings, corpus: Path) -> None:
    """Raise what `make_generator` would; a worker is not looked for, the corpus stands in for it until it is there."""
    if settings.kind not in ("retrieval", "worker"):
        make_generator(settings, corpus)


def make_bank(folder: Path) -> Bank:
    """A bank of a corpus folder's clips."""
    catalogue = read_catalogue(folder, check_audio=False)
    return Bank(catalogue, ClipLibrary(catalogue.clips, RATE_HZ), RATE_HZ)


def check_same_space(space: EmbeddingSpace, corpus: Path) -> None:
    """Refuse a generator whose conditions are of another space than the corpus; SpaceMismatchError."""
    wanted = read_catalogue(corpus, check_audio=False).space
    if space != wanted:
        raise SpaceMismatchError(
            f"the generator takes conditions of space {space}, the corpus in {corpus} is of {wanted}; train a "
            "generator in the corpus's space with: innerear generator train, or index the corpus in the generator's")


def _anchors(settings: GeneratorSettings, themes: Themes, corpus: Path) -> Anchors:
    """Themes of the corpus's own clips, where the settings ask to begin from them."""
    if not settings.anchored:
        return {}
    check_same_space(themes.space, corpus)
    return CorpusAnchors(corpus, read_catalogue(corpus, check_audio=False), themes)
