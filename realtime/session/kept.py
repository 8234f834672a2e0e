"""What a session keeps beside its journal: copies of all that its decisions depend on.

With them the folder can be resumed and replayed alone, whatever became of the bundle since.
"""

import json
import shutil
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter

from realtime.atomic import write_json
from realtime.bundle import read_bundle
from realtime.config import LiveSettings
from realtime.decoding.onnx_decoder import OnnxDecoder
from realtime.decoding.settings import DecodingSettings
from realtime.errors import SessionError
from realtime.experiment.run_design import read_run_design
from realtime.generators.conditioning import Conditioning
from realtime.music.catalogue import Catalogue, read_catalogue
from realtime.music.selection import SelectionSettings
from realtime.session.events import Event, events_of, read_events
from realtime.session.folder import SessionFolder
from realtime.session.parts import Parts
from realtime.session.record import RECORD_FORMAT, Document

_CATALOGUE_FILES = ("corpus.json", "embeddings.npy")


def keep_copies(folder: SessionFolder, settings: LiveSettings) -> None:
    """Copy bundle, embeddings, events and settings, so that the session can be resumed and replayed alone."""
    if folder.settings.exists():
        return  # `check_same` has found them to be these
    shutil.copytree(settings.bundle, folder.bundle, dirs_exist_ok=True)
    folder.catalogue.mkdir(exist_ok=True)
    for name in _CATALOGUE_FILES:
        shutil.copy(settings.catalogue / name, folder.catalogue / name)
    if settings.events is not None:
        shutil.copy(settings.events, folder.events)
    if settings.design is not None and settings.design != folder.design:
        shutil.copy(settings.design, folder.design)
    if settings.generator.kind in ("director", "model") and settings.generator.folder is not None:
        shutil.copytree(settings.generator.folder, folder.generator, dirs_exist_ok=True)
    write_json(folder.settings, {"format": RECORD_FORMAT, **_choices(settings), "catalogue": str(settings.catalogue),
                                 "bundle": str(settings.bundle), "events": str(settings.events or ""),
                                 "keep_until": str(settings.keep_until or "")})


def check_same(folder: SessionFolder, settings: LiveSettings) -> None:
    """Refuse to resume a session with other inputs than it began with: its decisions rest on its own copies.

    Raises
    ------
    SessionError
        Bundle, catalogue, events, design, selection, decoding or `wait_for_start` differ; all that do are named.
    """
    if not folder.settings.exists():
        return
    kept, given = _read_settings(folder), json.loads(json.dumps(_choices(settings)))
    differing = [name for name in (*given, *({"generator"} - {*given})) if kept.get(name) != given.get(name)]
    if read_bundle(folder.bundle).sha256 != read_bundle(settings.bundle).sha256:
        differing.append(f"bundle ({settings.bundle}, begun with {kept['bundle']})")
    if any(_bytes(folder.catalogue / name) != _bytes(settings.catalogue / name) for name in _CATALOGUE_FILES):
        differing.append(f"catalogue ({settings.catalogue}, begun with {kept['catalogue']})")
    if _bytes(folder.events) != (b"" if settings.events is None else _bytes(settings.events)):
        differing.append(f"events ({settings.events}, begun with {kept['events'] or 'none'})")
    if _bytes(folder.design) != (b"" if settings.design is None else _bytes(settings.design)):
        differing.append(f"design ({settings.design})")
    if differing:
        raise SessionError(f"session {folder.path} was begun with other inputs: {', '.join(differing)}; resume it with "
                           "those, or begin another session with --session")


def _choices(settings: LiveSettings) -> dict[str, Any]:
    """The settings that decisions depend on."""
    choices: dict[str, Any] = {"selection": asdict(settings.selection), "decoding": asdict(settings.decoding),
                               "wait_for_start": settings.wait_for_start}
    if settings.generator.kind != "retrieval":
        choices["generator"] = {**asdict(settings.generator), "folder": str(settings.generator.folder or "")}
    return choices


def _bytes(path: Path) -> bytes:
    return path.read_bytes() if path.exists() else b""


def _read_settings(folder: SessionFolder) -> dict[str, Any]:
    try:
        kept: dict[str, Any] = json.loads(folder.settings.read_bytes())
    except (OSError, ValueError) as exc:
        raise SessionError(f"{folder.path} is not a session folder: {folder.settings.name} cannot be read ({exc}); "
                           "name the folder of a recorded session") from exc
    if kept.get("format") != RECORD_FORMAT:
        raise SessionError(f"session {folder.path} is of format {kept.get('format', 1)}, this program reads format "
                           f"{RECORD_FORMAT}: use the release of Innerear that recorded it")
    return kept


def read_parts(folder: SessionFolder, catalogue: Catalogue | None = None) -> Parts:
    """The core's parts from a session folder's own copies.

    Raises
    ------
    RealtimeError
        A copy is missing or damaged.
    """
    kept = _read_settings(folder)
    bundle = read_bundle(folder.bundle)
    kept["selection"]["excluded"] = tuple(kept["selection"]["excluded"])
    events: tuple[Event, ...] = read_events(folder.events) if folder.events.exists() else ()
    design = read_run_design(folder.design) if folder.design.exists() else None
    if design is not None:
        events = events_of(design)
    music = catalogue or read_catalogue(folder.catalogue, check_audio=False)
    generator = kept.get("generator")
    return Parts(bundle, OnnxDecoder(bundle), music, events, kept["events"], SelectionSettings(**kept["selection"]),
                 kept.get("wait_for_start", False), generator and Conditioning(music, generator["snap"]),
                 design, TypeAdapter(DecodingSettings).validate_python(kept["decoding"]))


def _decoding(parts: Parts) -> Document:
    """The settings; that trials were heard is not said: sessions from before that was a choice repeat to the byte."""
    told = {**asdict(parts.decoding), "motion_limit_mm": parts.motion_limit_mm}
    if parts.decoding.response == "heard":
        del told["response"]
    return told


def about_session(parts: Parts) -> Document:
    """What the record's first document says besides the run."""
    manifest = parts.bundle.manifest
    trials = [{"trial": number, "onset_s": event.onset_s, "duration_s": event.duration_s, "clip_id": event.clip_id,
               "genre": event.genre, "is_dummy": event.is_dummy,
               "trial_type": event.trial_type} for number, event in enumerate(parts.events)]
    return {"bundle": {"name": manifest.name, "sha256": parts.bundle.sha256, "subject": manifest.subject,
                       "n_voxels": len(parts.bundle.voxels)},
            "space": asdict(manifest.space), "n_clips": len(parts.index.clips),
            "lag_volumes": manifest.lag_volumes, "window_volumes": parts.window_volumes, "trials": trials,
            "decoding": _decoding(parts),
            "selection": asdict(parts.selection), "wait_for_start": parts.wait_for_start,
            "software": f"innerear {version('innerear')}"}
