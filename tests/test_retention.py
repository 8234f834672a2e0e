"""Retention: a date in the session, and a purge that deletes what was chosen, on the record, and nothing else."""

import json
import subprocess
from datetime import date
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from realtime.config import LiveSettings, load_settings
from realtime.errors import SessionError
from realtime.session.folder import SessionFolder
from realtime.session.kept import keep_copies
from realtime.session.lock import held
from realtime.visit.retention import Retained, purge, sessions_under
from tests.processes import World, command, make_world


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    return make_world(tmp_path_factory.mktemp("retention"), 5)


@pytest.fixture
def session(world: World, tmp_path: Path) -> SessionFolder:
    """A session's folder as the live program begins it, from a settings file, with what it leaves."""
    folder = SessionFolder(tmp_path / "visit" / "01-train")
    folder.path.mkdir(parents=True)
    (tmp_path / "live.toml").write_text(f'bundle = "{world.bundle}"\ncatalogue = "{world.catalogue}"\n'
                                        f'session = "{folder.path}"\nkeep_until = 2031-05-01\n')
    keep_copies(folder, load_settings(tmp_path / "live.toml", LiveSettings))
    for name, content in (("journal.bin", b"images"), ("record.jsonl", b"{}\n"), ("played.wav", b"sound"),
                          ("played-1.wav", b"more"), ("overlay.png", b"brain"), ("summary.json", b"{}")):
        (folder.path / name).write_bytes(content)
    return folder


def names(folder: SessionFolder) -> set[str]:
    return {str(path.relative_to(folder.path)) for path in folder.path.rglob("*") if path.is_file()} - {"session.lock"}


def look(folder: SessionFolder) -> Retained:
    [found] = sessions_under([folder.path])
    return found


def tombstone(folder: SessionFolder) -> list[dict[str, object]]:
    return [json.loads(line) for line in folder.tombstone.read_text().splitlines()]


def test_a_session_keeps_the_date_until_which_it_may_be_kept(session: SessionFolder) -> None:
    assert look(session).keep_until == date(2031, 5, 1)
    assert not look(session).is_past(date(2031, 5, 1))
    assert look(session).is_past(date(2031, 5, 2))


@given(st.dates())
def test_without_a_date_nothing_is_ever_past_it(today: date) -> None:
    assert not Retained(SessionFolder(Path("x")), None, (), 0).is_past(today)


@pytest.mark.parametrize(("parts", "gone"), [
    (("volumes",), {"journal.bin", "overlay.png"}), (("sound",), {"played.wav", "played-1.wav"}),
    (("volumes", "sound"), {"journal.bin", "overlay.png", "played.wav", "played-1.wav"})])
def test_what_was_chosen_goes_and_all_else_stays(session: SessionFolder, parts: tuple[str, ...],
                                                 gone: set[str]) -> None:
    before = names(session)
    purge(look(session), parts, "Ada", "its date has passed", unexported=True)  # type: ignore[arg-type]
    assert names(session) == before - gone | {"purged.jsonl"}
    intent, done = tombstone(session)
    assert (intent["doc"], done["doc"], done["by"], done["reason"]) == ("purging", "purged", "Ada",
                                                                       "its date has passed")
    assert {file["name"] for file in intent["files"]} == gone  # type: ignore[attr-defined]


def test_all_leaves_the_record_of_the_purge_alone(session: SessionFolder) -> None:
    before = names(session)
    purge(look(session), ("all",), "Ada", "consent was withdrawn", unexported=True)
    assert [path.name for path in session.path.rglob("*")] == ["purged.jsonl"]
    files = tombstone(session)[0]["files"]
    assert {file["name"] for file in files} == before  # type: ignore[attr-defined]
    assert all(len(file["sha256"]) == 64 for file in files)  # type: ignore[attr-defined]
    assert sessions_under([session.path.parent]) == ()


def test_a_running_session_is_not_purged(session: SessionFolder) -> None:
    with held(session), pytest.raises(SessionError, match="is being recorded"):
        purge(look(session), ("all",), "Ada", "", unexported=True)
    assert "journal.bin" in names(session)


def test_a_session_without_an_export_is_not_purged_unless_told(session: SessionFolder, tmp_path: Path) -> None:
    with pytest.raises(SessionError, match="has no export"):
        purge(look(session), ("volumes",), "Ada", "")
    session.exports.write_text(json.dumps({"at": "x", "to": str(tmp_path / "lost")}) + "\n")
    with pytest.raises(SessionError, match="has no export"):
        purge(look(session), ("volumes",), "Ada", "")
    (tmp_path / "lost").mkdir()
    purge(look(session), ("volumes",), "Ada", "")
    assert not session.journal.exists()


def test_nobody_purges_without_a_name(session: SessionFolder) -> None:
    with pytest.raises(SessionError, match="recorded with a name"):
        purge(look(session), ("all",), " ", "", unexported=True)


def test_a_purge_that_was_cut_off_shows_and_is_done_again(session: SessionFolder) -> None:
    session.path.joinpath("played.wav").unlink()
    session.path.joinpath("played.wav").symlink_to("nowhere")
    purge(look(session), ("all",), "Ada", "", unexported=True)
    assert not session.path.joinpath("played.wav").is_symlink()
    assert tombstone(session)[-1]["doc"] == "purged"


def run(*arguments: object, typed: str = "") -> subprocess.CompletedProcess[str]:
    return subprocess.run(command("purge", *arguments), input=typed, capture_output=True, text=True, timeout=120,
                          check=False)


def test_the_command_lists_and_deletes_only_what_is_typed(session: SessionFolder) -> None:
    visit = session.path.parent
    listed = run(visit)
    assert listed.returncode == 0, listed.stderr
    assert "2031-05-01" in listed.stdout
    assert "journal.bin" in names(session)
    run(visit, "--what", "volumes", "--unexported")  # its date has not come
    assert "journal.bin" in names(session)
    wrong = run(visit, "--what", "volumes", "--unexported", "--early", typed="yes\n")
    assert "kept" in wrong.stdout
    assert "journal.bin" in names(session)
    done = run(visit, "--what", "volumes", "--unexported", "--early", "--by", "Ada", typed="01-train\n")
    assert done.returncode == 0, done.stderr
    assert "journal.bin" not in names(session)
    assert tombstone(session)[-1]["by"] == "Ada"


def test_a_folder_without_sessions_is_named(tmp_path: Path) -> None:
    with pytest.raises(SessionError, match="holds no session"):
        sessions_under([tmp_path])
