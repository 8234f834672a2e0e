"""Figures of the session report, as SVG or PNG ready to be put into a page.

Colours: Paul Tol's "muted" set, told apart with every common colour vision; genres are named in
the figure as well, so that nothing rests on colour alone.
"""

import base64
import re
from collections.abc import Sequence
from io import BytesIO, StringIO
from itertools import groupby
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.ticker import FuncFormatter
from numpy.typing import NDArray

from offline_training.session_view import HeardTrial, SessionView, SoundingCue
from realtime.bundle import Bundle
from realtime.playback.recorder import Recording

Floats = NDArray[np.float64]
_SVG_NAME = re.compile(r"\b[pm][0-9a-f]{10}\b")
MUTED = ("#332288", "#CC6677", "#117733", "#DDCC77", "#88CCEE", "#AA4499", "#44AA99", "#882255", "#999933", "#777777")
INK, FAINT, ACCENT, WARN = "#1d2433", "#8a93a3", "#332288", "#CC6677"
WIDTH_IN = 10.4
_CHARACTER_IN = 0.085  # width of a character of the labels in the strips, with some air
_ONSET: Any = {"color": FAINT, "linewidth": 0.5, "alpha": 0.5, "zorder": 0}
_BORDER: Any = {"color": INK, "linewidth": 1.1, "linestyle": (0, (3, 2)), "zorder": 3}
_STYLE = {"font.size": 10.5, "axes.edgecolor": FAINT, "axes.labelcolor": INK, "text.color": INK, "xtick.color": INK,
          "ytick.color": INK, "axes.spines.top": False, "axes.spines.right": False, "axes.titlesize": 11.5,
          "axes.titleweight": "bold", "axes.titlelocation": "left", "svg.fonttype": "path", "svg.hashsalt": "innerear",
          "axes.linewidth": 0.8}


def genre_colours(genres: Sequence[str]) -> dict[str, str]:
    """One colour per genre, by name, so that every report gives a genre the same one for the same set."""
    names = sorted({genre for genre in genres if genre})
    return {genre: MUTED[i % len(MUTED)] for i, genre in enumerate(names)}


def style() -> Any:
    """Settings for `matplotlib.rc_context`: the report's look."""
    return dict(_STYLE)


def timeline(view: SessionView, colours: dict[str, str]) -> str:
    """What was heard, where that is known, over what was decoded over what was played, and how sure the decoder was."""
    figure = blank_figure(3.9 if view.is_free_run else 4.6)
    strips, sure = figure.subplots(2, 1, sharex=True, height_ratios=[1.0 if view.is_free_run else 1.5, 1.0])
    steps, tr_s = view.steps, view.tr_s
    ends_s = np.asarray((steps.volume + 1) * tr_s, np.float64)
    for trial in view.trials:
        label = trial.genre + ("\n(dummy)" if trial.is_dummy else "")
        _block(strips, 2, trial.onset_s, trial.duration_s or tr_s, label, colours.get(trial.genre, "#cccccc"))
    strength = np.nan_to_num(steps.genre_confidence, nan=0.4)
    _runs(strips, 1, ends_s, tr_s, steps.genre, colours, strength)
    _runs(strips, 0, ends_s, tr_s, tuple(view.clip_genres.get(clip, clip) for clip in steps.playing), colours, None)
    names = ["played", "decoded"] if view.is_free_run else ["played", "decoded", "heard"]
    strips.set_yticks([0.4 + row for row in range(len(names))], names)
    strips.set(ylim=(-0.1, len(names)), title=", ".join(reversed(names)).capitalize())
    strips.tick_params(axis="y", length=0)
    strips.spines["left"].set_visible(False)
    for border_s in _borders_s(view):
        for axes in (strips, sure):
            axes.axvline(border_s, **(_BORDER if view.is_free_run else _ONSET))
    sure.step(ends_s, steps.genre_confidence, where="post", color=WARN, linewidth=1.6, label="best genre")
    sure.step(ends_s, steps.confidence, where="post", color=ACCENT, linewidth=1.6, label="best clip")
    sure.set(ylim=(0, 1.02), ylabel="posterior", xlabel="time in the run (s)", title="Confidence")
    sure.legend(loc="upper left", frameon=False, ncols=2, bbox_to_anchor=(0.75, 1.22))
    sure.set_xlim(0, length_s(view))
    return as_svg(figure)


def _borders_s(view: SessionView) -> list[float]:
    """Where trials begin, by the scanner's clock, or the first volume of each segment is whole."""
    if view.is_free_run:
        return [(segment.first_volume + 1) * view.tr_s for segment in view.segments]
    return [trial.onset_s for trial in view.trials]


def latency(view: SessionView) -> str:
    """Time from a volume's scheduled end to its decision: over the run, and its distribution."""
    figure = blank_figure(3.0)
    over, spread = figure.subplots(1, 2, width_ratios=[1.1, 1])
    lags = view.latency
    over.plot(lags.volume * view.tr_s, lags.decision_ms, ".", color=ACCENT, markersize=4.5)
    over.set(xlabel="time in the run (s)", ylabel="decision after volume (ms)", title="Latency over the run")
    highest = float(np.nanmax(lags.decision_ms, initial=1.0))
    over.set_ylim(0, 1.15 * highest)
    for values, name, colour in ((lags.embedding_ms, "embedding", "#117733"), (lags.decision_ms, "decision", ACCENT),
                                 (lags.sound_ms, "sound", WARN)):
        there = np.sort(values[np.isfinite(values)])
        if len(there):
            share = np.arange(1, len(there) + 1) / len(there)
            spread.step(np.maximum(there, 0.1), share, where="post", color=colour, linewidth=1.8,
                        label=f"{name}\nmedian {np.median(there):.0f} ms")
    spread.axvline(lags.interval_ms, color=FAINT, linestyle="--", linewidth=1)
    spread.text(lags.interval_ms, 0.02, " next volume", fontsize=9, color=FAINT, rotation=90, va="bottom", ha="right")
    spread.set(xscale="log", ylim=(0, 1.02), xlabel="after the volume (ms)", ylabel="share within",
               title="Latency distribution")
    spread.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    spread.legend(frameon=False, loc="center left", bbox_to_anchor=(1.0, 0.5), fontsize=9.5)
    return as_svg(figure)


def identification(per_trial: Sequence[float | None], trials: Sequence[HeardTrial], mean: float, chance_p50: float,
                   chance_p95: float, colours: dict[str, str]) -> str:
    """Share of rival clips beaten in each trial, and the mean beside its chance band."""
    figure = blank_figure(3.1)
    single, whole = figure.subplots(1, 2, width_ratios=[4.4, 1], sharey=True)
    places = np.arange(len(trials))
    scores = np.array([np.nan if score is None else score for score in per_trial], np.float64)
    shades = [colours.get(trial.genre, FAINT) for trial in trials]
    single.vlines(places, 0.5, scores, color=shades, linewidth=3, alpha=0.55)
    single.scatter(places, scores, color=shades, s=70, zorder=3, edgecolors="white", linewidths=1)
    single.axhline(0.5, color=FAINT, linewidth=1)
    single.set_xticks(places, [trial.genre or trial.clip_id for trial in trials], rotation=35, ha="right",
                      rotation_mode="anchor")
    single.set(ylim=(-0.04, 1.06), ylabel="other clips beaten", title="Identification of each trial")
    single.set_xlim(-0.6, max(len(trials) - 0.4, 0.6))
    whole.axhspan(max(2 * chance_p50 - chance_p95, 0.0), chance_p95, color="#dfe3ea", zorder=0)
    whole.axhline(0.5, color=FAINT, linewidth=1)
    whole.text(0, min(chance_p95, 1.0) - 0.03, "chance", ha="center", va="top", fontsize=9, color="#5b6475")
    whole.scatter([0], [mean], marker="D", s=80, color=ACCENT, zorder=3)
    whole.text(0.16, mean, f"{mean:.2f}", va="center", fontweight="bold")
    whole.set(xlim=(-0.5, 0.6), xticks=[], title="Mean")
    whole.spines["bottom"].set_visible(False)
    return as_svg(figure)


def spectrogram(recording: Recording, cues: Sequence[SoundingCue], genres: dict[str, str]) -> str:
    """Log-frequency spectrogram of what was played, a line where each cue began."""
    figure = blank_figure(3.0)
    axes = figure.subplots()
    levels_db, bands_hz, length_s = log_spectrogram(recording)
    axes.imshow(levels_db, origin="lower", aspect="auto", cmap="magma", vmin=-70, vmax=0,
                extent=(0, length_s, 0, len(bands_hz)), interpolation="nearest")
    ticks = [100, 300, 1000, 3000, 10000]
    axes.set_yticks(np.interp(np.log(ticks), np.log(bands_hz), np.arange(len(bands_hz))), [f"{t:g}" for t in ticks])
    last_s = -1e9
    for cue in (cue for cue in cues if cue.frame < len(recording.frames)):
        at_s = cue.frame / recording.rate_hz
        axes.axvline(at_s, color="white", linewidth=1.0, alpha=0.9)
        if at_s - last_s > 0.035 * length_s:
            axes.text(at_s, 1.01 * len(bands_hz), genres.get(cue.clip_id, cue.clip_id) or "silence", fontsize=8.5,
                      rotation=35, ha="left", va="bottom")
            last_s = at_s
    axes.set(xlim=(0, length_s), xlabel="time in the recording (s)", ylabel="frequency (Hz)")
    return as_png(figure)


def log_spectrogram(recording: Recording, n_bands: int = 96, n_columns: int = 900) -> tuple[Floats, Floats, float]:
    """Levels in dB below the loudest (n_bands, n_columns), the bands' centres in Hz, and the length in s.

    One windowed transform of 4096 frames per column: a picture to look at, not every frame is in it.
    """
    mono = recording.frames.mean(axis=1)
    size = 4096
    padded = np.concatenate([mono, np.zeros(size, np.float32)])
    starts = np.linspace(0, max(len(mono) - size // 2, 0), n_columns).astype(int)
    edges_hz = np.geomspace(60, min(14000, 0.49 * recording.rate_hz), n_bands + 1)
    bins = np.fft.rfftfreq(size, 1 / recording.rate_hz)
    window, power = np.hanning(size), np.empty((n_columns, n_bands))
    first = np.minimum(np.searchsorted(bins, edges_hz[:-1]), len(bins) - 2)
    for column, start in enumerate(starts):
        cumulative = np.concatenate([[0.0], np.cumsum(np.abs(np.fft.rfft(window * padded[start:start + size])) ** 2)])
        last = np.maximum(np.searchsorted(bins, edges_hz[1:]), first + 1)
        power[column] = (cumulative[last] - cumulative[first]) / (last - first)
    levels = 10 * np.log10(power / max(power.max(), 1e-20) + 1e-12)
    return levels.T, np.sqrt(edges_hz[1:] * edges_hz[:-1]), len(mono) / recording.rate_hz


def slices(bundle: Bundle) -> str:
    """Axial slices of the reference that hold most of the decoder's voxels, those drawn in."""
    reference, voxels = bundle.reference, bundle.voxels
    counts = np.bincount(voxels[:, 2], minlength=reference.shape[2])
    shown = np.sort(np.argsort(-counts, kind="stable")[:min(8, int((counts > 0).sum()))])
    overlay = np.full(reference.shape, np.nan)
    overlay[tuple(voxels.T)] = 1.0
    head = np.argwhere(reference > 0.5 * reference.mean())
    (x0, y0, _), (x1, y1, _) = np.maximum(head.min(axis=0) - 2, 0), head.max(axis=0) + 3
    bright, sizes_mm = float(np.percentile(reference, 99.5)), np.linalg.norm(bundle.affine[:3, :3], axis=0)
    n_rows = 1 + (len(shown) > 4)
    tall = float(sizes_mm[1] * (y1 - y0) / (sizes_mm[0] * (x1 - x0)))
    figure = blank_figure(n_rows * (min(tall, 1.4) * WIDTH_IN / 4 + 0.1))
    for k, z in enumerate(shown, start=1):
        axes = figure.add_subplot(n_rows, 4, k)
        axes.set_axis_off()
        part, aspect = (slice(x0, x1), slice(y0, y1), z), sizes_mm[1] / sizes_mm[0]
        axes.imshow(reference[part].T, cmap="gray", origin="lower", vmin=0, vmax=bright, aspect=aspect)
        axes.imshow(overlay[part].T, cmap="autumn", origin="lower", vmin=0, vmax=1.6, alpha=0.8, aspect=aspect,
                    interpolation="nearest")
        axes.set_title(f"slice {z}: {counts[z]} voxels", fontsize=9, fontweight="normal", loc="center")
    return as_png(figure)


def blank_figure(height_in: float) -> Figure:
    """A figure as wide as the report's column."""
    return Figure(figsize=(WIDTH_IN, height_in), layout="constrained")


def _block(axes: Axes, row: int, begin_s: float, length_s: float, label: str, colour: str) -> None:
    axes.add_patch(Rectangle((begin_s, row), length_s, 0.8, facecolor=colour, edgecolor="white", linewidth=0.8))
    if label:
        axes.text(begin_s + length_s / 2, row + 0.4, label, ha="center", va="center", fontsize=8.5,
                  color=_ink_on(colour), clip_on=True)


def _runs(axes: Axes, row: int, ends_s: Floats, tr_s: float, names: Sequence[str], colours: dict[str, str],
          strength: Floats | None) -> None:
    """Stretches of one name as blocks, paler per volume by `strength`; labelled where there is room."""
    total_s = float(ends_s[-1]) if len(ends_s) else 1.0
    for name, group in groupby(range(len(names)), key=lambda i: names[i]):
        rows = list(group)
        if not name:
            continue
        colour = colours.get(name, "#cccccc")
        begin_s, length_s = float(ends_s[rows[0]]), len(rows) * tr_s
        label = name if length_s / total_s > (len(name) + 1) * _CHARACTER_IN / WIDTH_IN else ""
        if strength is None:
            _block(axes, row, begin_s, length_s, label, colour)
            continue
        shades = [_paler(colour, 0.3 + 0.7 * float(strength[i])) for i in rows]
        for i, shade in zip(rows, shades, strict=True):
            width_s = tr_s if i == rows[-1] else 1.1 * tr_s  # neighbours overlap: no seam shows between them
            axes.add_patch(Rectangle((float(ends_s[i]), row), width_s, 0.8, facecolor=shade, linewidth=0))
        if label:
            axes.text(begin_s + length_s / 2, row + 0.4, label, ha="center", va="center", fontsize=8.5,
                      color=_ink_on(shades[len(shades) // 2]), clip_on=True)


def _paler(colour: str, strength: float) -> str:
    channels = [round(255 - strength * (255 - int(colour[i:i + 2], 16))) for i in (1, 3, 5)]
    return "#" + "".join(f"{channel:02x}" for channel in channels)


def _ink_on(colour: str) -> str:
    """White or dark, whichever reads better on the colour (relative luminance, WCAG's threshold)."""
    linear = [(int(colour[i:i + 2], 16) / 255) ** 2.2 for i in (1, 3, 5)]
    return "white" if 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2] < 0.22 else INK


def length_s(view: SessionView) -> float:
    """Where the time axis of a session's figures ends."""
    ends = [trial.onset_s + trial.duration_s for trial in view.trials]
    volumes = (int(view.steps.volume[-1]) + 2) * view.tr_s if len(view.steps.volume) else 1.0
    return max([volumes, *ends])


def as_svg(figure: Figure) -> str:
    """The figure as an image address for the page; the same figure gives the same bytes.

    Matplotlib names clip paths and markers by hashes that now and then differ from one run to the
    next; here they are numbered in order of appearance.
    """
    buffer = StringIO()
    figure.savefig(buffer, format="svg", metadata={"Date": None}, transparent=True)
    names: dict[str, str] = {}
    text = _SVG_NAME.sub(lambda found: names.setdefault(found[0], f"{found[0][0]}{len(names)}"), buffer.getvalue())
    return _uri("svg+xml", text.encode())


def as_png(figure: Figure) -> str:
    """The figure as a picture of dots, as an image address: for what would be too many lines."""
    buffer = BytesIO()
    figure.savefig(buffer, format="png", dpi=150)
    return _uri("png", buffer.getvalue())


def _uri(kind: str, payload: bytes) -> str:
    return f"data:image/{kind};base64,{base64.b64encode(payload).decode()}"
