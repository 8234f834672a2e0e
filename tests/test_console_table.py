"""The terminal's table of a running session."""

from io import StringIO

from rich.console import Console

from realtime.console.table import SessionTable, plain_row

STEP = {"volume": 4, "n_volumes": 110, "status": "OK", "fd_mm": 0.083, "dvars_percent": 1.62, "trial": 0, "n": 3,
        "top": [{"clip_id": "jazz-03", "posterior": 0.41}], "genre": "jazz", "genre_confidence": 0.55, "playing": "",
        "latency_ms": 12.34}
LOST = {"volume": 5, "status": "GAP", "fd_mm": None, "dvars_percent": None, "trial": -1, "n": 0, "top": []}


def test_a_step_is_one_line_under_its_headings() -> None:
    out = StringIO()
    with SessionTable(Console(file=out, width=140)) as table:
        table.show("step", STEP)
        table.show("step", LOST)
    head, row, lost = out.getvalue().splitlines()
    for heading, value in (("FD mm", "0.08"), ("DVARS", "1.6%"), ("ms", "12.3")):
        end = head.index(heading) + len(heading)
        assert row[:end].endswith(value)
        assert lost[:end].endswith(" ")
    assert row.split() == ["5/110", "OK", "0.08", "1.6%", "1·3", "jazz-03", "0.41", "jazz", "0.55", "(silence)", "12.3"]
    assert lost.split() == ["6", "GAP", "(silence)"]


def test_a_terminal_shows_the_same_cells() -> None:
    out = StringIO()
    with SessionTable(Console(file=out, width=160, force_terminal=True)) as table:
        table.show("step", STEP)
    for value in plain_row(STEP).split():
        assert value in out.getvalue()


def test_the_line_to_the_scanner_is_told_once_for_each_change() -> None:
    out = StringIO()
    with SessionTable(Console(file=out, width=140)) as table:
        for text in ("no bridge has come yet", "a bridge is connected", "a bridge is connected"):
            table.show("link", {"text": text, "bridges": 1, "refused": {}})
    assert out.getvalue().count("-- a bridge is connected\n") == 1
