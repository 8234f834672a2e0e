"""A running session as a table in the terminal: one row per volume, the newest last."""

from collections import deque
from typing import Any

from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

N_ROWS = 12
_STYLES = {"OK": "green", "SETTLING": "dim", "CENSORED": "yellow", "GAP": "red", "REJECTED": "red"}
_PLAIN_HEAD = (f"{'volume':>9} {'status':9}{'FD mm':>6}{'DVARS':>6} {'trial·n':>8}  {'decoded clip':24}{'p':>5}  "
               f"{'decoded genre':14}{'p':>5}  {'playing':20}{'ms':>7}")


class SessionTable:
    """Shows states, steps and alarms as they come; a live table on a terminal, plain lines elsewhere."""

    def __init__(self, console: Console | None = None) -> None:
        self._console = console or Console()
        self._rows: deque[dict[str, Any]] = deque(maxlen=N_ROWS)
        self._headline = "waiting for the live program"
        self._line = ""
        self._alarms: deque[str] = deque(maxlen=3)
        self._live = Live(console=self._console, auto_refresh=False) if self._console.is_terminal else None

    def __enter__(self) -> "SessionTable":
        if self._live is not None:
            self._live.start()
        else:
            self._console.print(_PLAIN_HEAD, highlight=False, markup=False, soft_wrap=True)
        return self

    def __exit__(self, *_: object) -> None:
        if self._live is not None:
            self._live.stop()

    def show(self, topic: str, payload: dict[str, Any]) -> None:
        """Take in one message of the bus."""
        if topic == "step":
            self._rows.append(payload)
            if self._live is None:
                self._console.print(plain_row(payload), highlight=False, markup=False, soft_wrap=True)
        elif topic == "state":
            self._headline = headline(payload)
            if self._live is None:
                self._console.print(f"-- {self._headline}", highlight=False, markup=False, soft_wrap=True)
        elif topic == "link" and payload.get("text") != self._line:
            self._line = str(payload.get("text", ""))
            if self._live is None:
                self._console.print(f"-- {self._line}", highlight=False, markup=False, soft_wrap=True)
        elif topic == "alarm":
            self._alarms.append(str(payload.get("text", "")))
            if self._live is None:
                self._console.print(f"!! {self._alarms[-1]}", highlight=False, markup=False, soft_wrap=True)
        if self._live is not None:
            self._live.update(self._picture(), refresh=True)

    def _picture(self) -> Group:
        table = Table(expand=True, box=None, pad_edge=False, header_style="bold")
        for name, justify in (("volume", "right"), ("status", "left"), ("FD mm", "right"), ("DVARS", "right"),
                              ("trial·n", "right"), ("decoded clip", "left"), ("p", "right"), ("genre", "left"),
                              ("p", "right"), ("playing", "left"), ("ms", "right")):
            table.add_column(name, justify="right" if justify == "right" else "left", no_wrap=True)
        for row in self._rows:
            table.add_row(*cells(row), style=_STYLES.get(str(row.get("status")), ""))
        alarms = [Text(f"!! {text}", style="bold red") for text in self._alarms]
        return Group(Text(self._headline, style="bold"), Text(self._line), table, *alarms)


def headline(state: dict[str, Any]) -> str:
    """The state of the session as a sentence."""
    name = state.get("state", "")
    sentences = {
        "armed": "armed: waiting for the first volume",
        "resumed": "resumed after an interruption: waiting for the next volume",
        "running": f"running: {state.get('source', '')}, {state.get('n_volumes') or '?'} volumes, "
                   f"TR {state.get('tr_s', 0):g} s",
        "stale": "no volumes are coming: the music fades; check the scanner and the bridge",
        "aborted": f"attempt {state.get('attempt', 1)} was aborted ({state.get('reason', '')}): waiting for the next",
        "ended": f"ended ({state.get('status', '')}): {state.get('verdict', '')}",
        "offline": "the live program is gone; start it again with the same session folder",
    }
    return sentences.get(str(name), str(name))


def cells(step: dict[str, Any]) -> list[str]:
    """One step as the table's eleven cells."""
    best = step["top"][0] if step.get("top") else None
    of = f"/{step['n_volumes']}" if step.get("n_volumes") else ""
    return [
        f"{step['volume'] + 1}{of}", str(step["status"]), _number(step.get("fd_mm"), "{:.2f}"),
        _number(step.get("dvars_percent"), "{:.1f}%"),
        _place(step),
        best["clip_id"] if best else "", _number(best and best["posterior"], "{:.2f}"),
        step.get("genre", ""), _number(step.get("genre_confidence"), "{:.2f}"),
        step.get("playing") or "(silence)", _number(step.get("latency_ms"), "{:.1f}"),
    ]


def plain_row(step: dict[str, Any]) -> str:
    """One step as a line of text, under `_PLAIN_HEAD`."""
    volume, status, fd, dvars, trial, clip, p_clip, genre, p_genre, playing, latency = cells(step)
    return (f"{volume:>9} {status:9}{fd:>6}{dvars:>6} {trial:>8}  {clip:24}{p_clip:>5}  {genre:14}{p_genre:>5}  "
            f"{playing:20}{latency:>7}")


def _place(step: dict[str, Any]) -> str:
    """The trial, or a free run's segment, and the volumes that speak for it."""
    if step.get("segment"):
        return f"s{step['segment']['number'] + 1}·{step['n']}"
    return f"{step['trial'] + 1}·{step['n']}" if step["trial"] >= 0 else ""


def _number(value: float | None, pattern: str) -> str:
    return "" if value is None else pattern.format(value)
