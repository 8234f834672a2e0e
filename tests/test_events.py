"""Events files: the two dialects, the dummy, and every way to be wrong."""

from pathlib import Path

import pytest

from realtime.errors import EventsError
from realtime.session.events import Event, check_events_fit, read_events

DATA = Path(__file__).resolve().parents[2] / "shared" / "data"


def write(folder: Path, *lines: str) -> Path:
    path = folder / "sub-x_task-Test_run-01_events.tsv"
    path.write_text("\n".join(line.replace(" ", "\t") for line in lines) + "\n", encoding="utf-8")
    return path


def test_clip_id_and_genre_columns_are_read_and_the_dummy_marked(tmp_path: Path) -> None:
    events = read_events(write(tmp_path, "onset duration genre clip_id", "0 10 jazz a", "10 10 rock b", "20 10 jazz a"))
    assert events == (Event(0, 10, "a", "jazz", is_dummy=True), Event(10, 10, "b", "rock"), Event(20, 10, "a", "jazz"))


def test_stim_file_names_the_clip_and_missing_values_name_none(tmp_path: Path) -> None:
    lines = ["onset duration trial_type stim_file", "0 10 listen stimuli/a.wav", "12 8 rest n/a"]
    events = read_events(write(tmp_path, *lines))
    assert events == (Event(0, 10, "a", trial_type="listen"), Event(12, 8, "", trial_type="rest"))


@pytest.mark.data
@pytest.mark.skipif(not DATA.is_dir(), reason="the recorded data are not here")
def test_every_run_of_ds003720_has_41_clips_the_first_a_dummy_in_test_runs() -> None:
    paths = sorted((DATA / "bids" / "ds003720").glob("sub-*/func/*_events.tsv"))
    assert len(paths) == 54
    for path in paths:
        events = read_events(path)
        assert len(events) == 41
        check_events_fit(events, 410, 1.5, path.name)
        assert events[0].is_dummy == ("task-Test" in path.name)
        assert not any(event.is_dummy for event in events[1:])
    first = read_events(DATA / "bids/ds003720/sub-001/func/sub-001_task-Test_run-01_events.tsv")[0]
    assert (first.clip_id, first.genre) == ("pop.00032", "pop")


@pytest.mark.data
@pytest.mark.skipif(not DATA.is_dir(), reason="the recorded data are not here")
def test_blocks_without_clips_are_read_as_trials_that_name_none() -> None:
    path = DATA / "bids/ds000171/sub-control01/func/sub-control01_task-music_run-1_events.tsv"
    events = read_events(path)
    assert events[0] == Event(0, 33, "", trial_type="tones")
    assert {event.clip_id for event in events} == {""}


@pytest.mark.parametrize(("lines", "sentence"), [
    (["onset duration clip_id", "0 10 a", "ten 10 b"], "line 3: onset is 'ten', wanted seconds"),
    (["onset duration clip_id", "nan 10 a"], "line 2: onset is 'nan', wanted finite"),
    (["onset duration clip_id", "0 inf a"], "line 2: duration is 'inf'"),
    (["onset duration clip_id", "0"], "line 2: duration is ''"),
    (["onset duration clip_id", "-3 10 a"], "before the run's first volume"),
    (["onset duration clip_id", "0 0 a"], "wanted more than 0"),
    (["onset duration clip_id", "10 10 a", "0 10 b"], "line 3: onset 0 s is not after"),
    (["onset duration clip_id", "0 10 a", "0 10 b"], "line 3: onset 0 s is not after"),
    (["onset duration clip_id", "0 10 a", "9 10 b"], "line 3: onset 9 s lies within the event before"),
    (["onset duration genre track", "0 10 'pop' x1"], "track is 'x1'"),
    (["onset clip_id", "0 a"], "lacks column 'duration'"),
    (["onset duration genre", "0 10 pop"], "names the clip"),
    (["onset duration clip_id"], "holds no events"),
    ([""], "lacks column 'duration' and column 'onset' and a column"),
])
def test_what_is_wrong_is_said_with_its_line(tmp_path: Path, lines: list[str], sentence: str) -> None:
    with pytest.raises(EventsError, match=sentence):
        read_events(write(tmp_path, *lines))


def test_all_wrong_lines_are_named_at_once(tmp_path: Path) -> None:
    with pytest.raises(EventsError, match=r"line 2.*line 3.*line 4"):
        read_events(write(tmp_path, "onset duration clip_id", "x 10 a", "y 10 b", "z 10 c"))


def test_a_file_that_is_not_there_or_not_text_is_said(tmp_path: Path) -> None:
    with pytest.raises(EventsError, match="cannot be read"):
        read_events(tmp_path / "none.tsv")
    (tmp_path / "image.tsv").write_bytes(b"\x89PNG\xff\xfe")
    with pytest.raises(EventsError, match="UTF-8"):
        read_events(tmp_path / "image.tsv")


def test_rounding_of_a_millisecond_is_no_overlap(tmp_path: Path) -> None:
    assert len(read_events(write(tmp_path, "onset duration clip_id", "0 10.004 a", "10 10 b"))) == 2


def test_events_beyond_the_run_are_refused_and_within_a_volume_allowed() -> None:
    events = (Event(0, 10, "a"), Event(10, 10.5, "b"))
    check_events_fit(events, 20, 1.0, "run")
    check_events_fit(events, None, 1.0, "run")
    with pytest.raises(EventsError, match=r"1 of 2 events in run lie outside.*'b', lasts from 10 to 20.5 s.*15 s"):
        check_events_fit(events, 15, 1.0, "run")
