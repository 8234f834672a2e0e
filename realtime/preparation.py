"""Before a session: everything that would stop it, found at once; then its folder, with all that decisions rest on."""

import contextlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from realtime.bundle import check_space, read_bundle
from realtime.config import LiveSettings
from realtime.decoding.onnx_decoder import OnnxDecoder
from realtime.errors import RealtimeError, SessionError
from realtime.experiment.cue_tones import write_cue_tones
from realtime.experiment.run_design import read_run_design
from realtime.generators.make import check_generator
from realtime.messages import Clip
from realtime.music.catalogue import Catalogue, read_catalogue
from realtime.music.embedder_spec import read_embedder
from realtime.playback.calibration import read_calibration
from realtime.session.events import check_sounds, read_events
from realtime.session.folder import SessionFolder
from realtime.session.kept import about_session, check_same, keep_copies, read_parts
from realtime.session.lock import held
from realtime.session.parts import Parts
from realtime.session.record import Document, is_finished

T = TypeVar("T")


@dataclass(frozen=True, eq=False)
class Prepared:
    """Everything a session needs, checked.

    Attributes
    ----------
    parts : Parts
        For the core.
    catalogue : Catalogue
        For the player and the score.
    folder : SessionFolder
        Where the session is kept; holds copies of all that decisions depend on.
    about : dict
        What the record's first document says besides the run.
    sounds : tuple of Clip
        All that can be played: the catalogue's clips, and a design's cues.
    """

    parts: Parts
    catalogue: Catalogue
    folder: SessionFolder
    about: Document
    sounds: tuple[Clip, ...]


def problems(settings: LiveSettings) -> list[str]:
    """Everything that would stop a session with these settings, a sentence each."""
    found = [*decoder_problems(settings), *sound_problems(settings), *bus_problems(settings)]
    folder = SessionFolder(settings.session)
    _attempt(found, lambda: _check_folder(folder))
    if not found:
        _attempt(found, lambda: check_same(folder, settings))
    return found


def decoder_problems(settings: LiveSettings) -> list[str]:
    """Of bundle, music, generator, events and design."""
    found: list[str] = []
    bundle = _attempt(found, lambda: read_bundle(settings.bundle))
    catalogue = _attempt(found, lambda: read_catalogue(settings.catalogue))
    if settings.events is not None:
        path = settings.events
        _attempt(found, lambda: read_events(path))
    if bundle is not None:
        _attempt(found, lambda: OnnxDecoder(bundle))
    design = None
    if settings.design is not None:
        path_of_design = settings.design
        design = _attempt(found, lambda: read_run_design(path_of_design))
    if design is not None and settings.generator.kind != "retrieval":
        # the stream would sound in place of stimuli and cues, and follow the person's own evidence in every arm
        found.append(f"design {settings.design} cannot be played by a generator: got generator.kind "
                     f"{settings.generator.kind!r}, wanted 'retrieval'; leave [generator] out for this run")
    if design is not None and catalogue is not None:
        _attempt(found, lambda: check_sounds(design, {clip.clip_id for clip in catalogue.clips}))
    if bundle is not None and catalogue is not None:
        _attempt(found, lambda: check_space(bundle, catalogue.space, f"catalogue {settings.catalogue}"))
    if catalogue is not None:
        _attempt(found, lambda: check_generator(settings.generator, settings.catalogue))
    return found


def sound_problems(settings: LiveSettings) -> list[str]:
    """Of the calibration, and of the embedder that listens along."""
    found: list[str] = []
    if settings.self_check is not None:
        ear = settings.self_check
        _attempt(found, lambda: read_embedder(ear))
    if settings.playback.calibration is not None:
        calibration = settings.playback.calibration
        _attempt(found, lambda: read_calibration(calibration))
    return found


def bus_problems(settings: LiveSettings) -> list[str]:
    """Of the files of an encrypted bus."""
    found: list[str] = []
    if settings.bus.broker not in ("", "embedded"):
        _attempt(found, settings.bus.address.check)
    return found


def _attempt(found: list[str], action: Callable[[], T]) -> T | None:
    try:
        return action()
    except RealtimeError as exc:
        found.append(str(exc))
        return None


def _check_folder(folder: SessionFolder) -> None:
    if folder.summary.exists() and is_finished(folder.record):
        raise SessionError(f"session {folder.path} is finished; choose another folder for a new one "
                           f"(--session), or look at it with: innerear report {folder.path}")


def prepare(settings: LiveSettings, stack: contextlib.AsyncExitStack) -> Prepared:
    """Check everything, and put into the session folder what its decisions will depend on.

    Parameters
    ----------
    settings : LiveSettings
        Of the session.
    stack : AsyncExitStack
        Keeps the session folder for this program alone.

    Raises
    ------
    SessionError
        All that `problems` found, in one message; or another program records there.
    """
    found = problems(settings)
    if found:
        raise SessionError("\n".join(found))
    folder = SessionFolder(settings.session)
    try:
        folder.path.mkdir(parents=True, exist_ok=True)
        stack.enter_context(held(folder))
        keep_copies(folder, settings)
    except OSError as exc:
        raise SessionError(f"session folder {folder.path} cannot be written ({exc.strerror or exc}); choose another "
                           "with --session, or make room") from exc
    catalogue = read_catalogue(settings.catalogue)
    parts = read_parts(folder, catalogue)
    cues = write_cue_tones(folder.cues) if parts.design is not None else ()
    return Prepared(parts, catalogue, folder, about_session(parts), (*catalogue.clips, *cues))
