"""What a session keeps beside its journal: copies of all that its decisions depend on.

With them the folder can be resumed and replayed alone, whatever became of the bundle since.
"""

import json
import shutil
from dataclasses import asdict
from importlib.metadata import version

from realtime.bundle import read_bundle
from realtime.config import LiveSettings
from realtime.decoding.onnx_decoder import OnnxDecoder
from realtime.errors import SessionError
from realtime.music.catalogue import Catalogue, read_catalogue
from realtime.music.selection import SelectionSettings
from realtime.session.core import Parts
from realtime.session.events import Event, read_events
from realtime.session.folder import SessionFolder
from realtime.session.record import Document
from realtime.session.summary import write_json


def keep_copies(folder: SessionFolder, settings: LiveSettings) -> None:
    """Copy bundle, embeddings, events and settings, so that the session can be resumed and replayed alone."""
    if folder.settings.exists():
        return
    shutil.copytree(settings.bundle, folder.bundle, dirs_exist_ok=True)
    folder.catalogue.mkdir(exist_ok=True)
    for name in ("corpus.json", "embeddings.npy"):
        shutil.copy(settings.catalogue / name, folder.catalogue / name)
    if settings.events is not None:
        shutil.copy(settings.events, folder.events)
    write_json(folder.settings, {"selection": asdict(settings.selection), "catalogue": str(settings.catalogue),
                                 "bundle": str(settings.bundle), "events": str(settings.events or "")})


def read_parts(folder: SessionFolder, catalogue: Catalogue | None = None) -> Parts:
    """The core's parts from a session folder's own copies.

    Raises
    ------
    RealtimeError
        A copy is missing or damaged.
    """
    try:
        kept = json.loads(folder.settings.read_bytes())
    except (OSError, ValueError) as exc:
        raise SessionError(f"{folder.path} is not a session folder: {folder.settings.name} cannot be read ({exc}); "
                           "name the folder of a recorded session") from exc
    bundle = read_bundle(folder.bundle)
    kept["selection"]["excluded"] = tuple(kept["selection"]["excluded"])
    events: tuple[Event, ...] = read_events(folder.events) if folder.events.exists() else ()
    return Parts(bundle, OnnxDecoder(bundle), catalogue or read_catalogue(folder.catalogue, check_audio=False), events,
                 kept["events"], SelectionSettings(**kept["selection"]))


def about_session(parts: Parts) -> Document:
    """What the record's first document says besides the run."""
    manifest, schedule = parts.bundle.manifest, parts.schedule()
    trials = [{"trial": number, "onset_s": event.onset_s, "duration_s": event.duration_s, "clip_id": event.clip_id,
               "genre": event.genre, "is_dummy": event.is_dummy} for number, event in enumerate(parts.events)]
    return {"bundle": {"name": manifest.name, "sha256": parts.bundle.sha256, "subject": manifest.subject,
                       "n_voxels": len(parts.bundle.voxels)},
            "space": asdict(manifest.space), "n_clips": len(parts.index.clips),
            "lag_volumes": schedule.lag_volumes, "window_volumes": schedule.window_volumes, "trials": trials,
            "selection": asdict(parts.selection), "software": f"innerear {version('innerear')}"}
