"""How long a session's data may be kept, and their end: nothing is deleted without a date, a name and a record of it.

The record of a purge (`purged.jsonl`) stays in the session's folder. What will go is written down, with sizes and
digests, before the first file goes; that it is gone, afterwards. So a purge that was cut off shows, and is done again.
"""

import hashlib
import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Literal, get_args

from realtime.errors import SessionError
from realtime.session.folder import SessionFolder
from realtime.session.lock import held
from realtime.session.record import DocumentLog, read_documents

Part = Literal["volumes", "sound", "all"]
PARTS: tuple[Part, ...] = get_args(Part)


@dataclass(frozen=True)
class Retained:
    """A session and what is kept of it.

    Attributes
    ----------
    folder : SessionFolder
    keep_until : date or None
        None where no date was set.
    exports : tuple of str
        Data sets it was exported to that are still there.
    n_bytes : int
        Of everything in its folder.
    """

    folder: SessionFolder
    keep_until: date | None
    exports: tuple[str, ...]
    n_bytes: int

    @property
    def name(self) -> str:
        """Of its folder, to be typed for confirmation."""
        return self.folder.path.resolve().name

    def is_past(self, today: date) -> bool:
        """Whether its date has passed; never without one."""
        return self.keep_until is not None and today > self.keep_until


@dataclass(frozen=True)
class PurgedFile:
    """A file that was deleted: its name in the session's folder, its size, and its SHA-256."""

    name: str
    n_bytes: int
    sha256: str


def sessions_under(folders: Iterable[Path]) -> tuple[Retained, ...]:
    """All sessions in these folders, in visits' folders and below, that still hold something.

    Raises
    ------
    SessionError
        A folder without any, or one whose settings cannot be read.
    """
    found = []
    for folder in folders:
        inside = sorted({path.parent for path in folder.rglob("session.json")})
        if not inside and not any(folder.rglob("purged.jsonl")):
            raise SessionError(f"{folder} holds no session: there is no session.json in it or below; name the folder "
                               "of a session, of a visit, or one that holds some")
        found += [_look(SessionFolder(path)) for path in inside]
    return tuple(found)


def _look(folder: SessionFolder) -> Retained:
    try:
        until = json.loads(folder.settings.read_bytes()).get("keep_until") or ""
    except (OSError, ValueError) as exc:
        raise SessionError(f"{folder.settings} cannot be read ({exc}): until when its session may be kept is not "
                           "known; restore that file, or delete the folder yourself") from exc
    exports = [str(each["to"]) for each in read_documents(folder.exports)]
    return Retained(folder, date.fromisoformat(until) if until else None,
                    tuple(dict.fromkeys(each for each in exports if Path(each).exists())),
                    sum(path.stat().st_size for path in folder.path.rglob("*") if path.is_file()))


def purge(session: Retained, parts: Iterable[Part], by: str, reason: str, unexported: bool = False,
          ) -> tuple[PurgedFile, ...]:
    """Delete what was chosen of a session, and leave a record of it.

    Parameters
    ----------
    session : Retained
    parts : iterable of str
        volumes: the journal, with all images as received, and pictures of them; sound: what was played; all:
        everything but this record.
    by, reason : str
        Who, and why.
    unexported : bool
        Also where no export is there any more.

    Returns
    -------
    files : tuple of PurgedFile

    Raises
    ------
    SessionError
        It is being recorded, was not exported, or a file cannot be deleted: the record then says what shall go.
    """
    folder, chosen = session.folder, tuple(dict.fromkeys(parts))
    if not by.strip():
        raise SessionError("a purge is recorded with a name, got none; give it with --by")
    if not session.exports and not unexported:
        raise SessionError(f"session {folder.path} has no export that is still there: purging it would leave nothing; "
                           "export it (innerear export bids), or say --unexported")
    with held(folder):
        files = tuple(_described(folder.path, path) for path in _files(folder, chosen))
        log = DocumentLog(folder.tombstone)
        try:
            told = {"by": by, "reason": reason, "parts": chosen, "keep_until": str(session.keep_until or ""),
                    "exports": session.exports}
            log.append({"doc": "purging", "at": _now(), **told, "files": [asdict(file) for file in files]})
            if log.trouble:
                raise SessionError(f"{log.trouble}; nothing was deleted")
            for file in files:
                (folder.path / file.name).unlink(missing_ok=True)
            log.append({"doc": "purged", "at": _now(), **told, "files": len(files),
                        "bytes": sum(file.n_bytes for file in files)})
        except OSError as exc:
            raise SessionError(f"session {folder.path} cannot be purged ({exc.strerror}: {exc.filename}); "
                               f"{folder.tombstone.name} says what shall go: purge it again") from exc
        finally:
            log.close()
    if "all" in chosen:
        _remove_empty(folder)
    return files


def _files(folder: SessionFolder, parts: tuple[Part, ...]) -> list[Path]:
    if "all" in parts:
        keep = {folder.tombstone, folder.lock}
        return sorted(path for path in folder.path.rglob("*")
                      if (path.is_file() or path.is_socket() or path.is_symlink()) and path not in keep)
    chosen = []
    if "volumes" in parts:
        chosen += [folder.journal, *folder.path.glob("overlay*.png")]
    if "sound" in parts:
        chosen += folder.path.glob(f"{folder.played.stem}*{folder.played.suffix}")
    return sorted(path for path in chosen if path.exists())


def _described(root: Path, path: Path) -> PurgedFile:
    name = str(path.relative_to(root))
    if path.is_symlink() or not path.is_file():
        return PurgedFile(name, 0, "")
    with path.open("rb") as file:
        return PurgedFile(name, path.stat().st_size, hashlib.file_digest(file, "sha256").hexdigest())


def _remove_empty(folder: SessionFolder) -> None:
    folder.lock.unlink(missing_ok=True)
    for path in sorted(folder.path.rglob("*"), reverse=True):
        if path.is_dir() and not path.is_symlink():
            path.rmdir()


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
