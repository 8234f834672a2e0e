"""The page that a session becomes: one HTML file with everything in it, for people and for a paper's supplement."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import jinja2
import markupsafe
import matplotlib
import numpy as np

from offline_training import report_figures as figures
from offline_training.report_blocks import Banner, Part, Row, Tile
from offline_training.report_motion import motion
from offline_training.report_music import Music, session_music
from offline_training.report_segments import cut, free_run_tiles, segment_rows
from offline_training.session_view import HeardTrial, SessionView, read_session
from realtime.atomic import write_bytes
from realtime.errors import PlaybackError
from realtime.playback.recorder import read_played
from realtime.session.folder import SessionFolder

_TEMPLATE = Path(__file__).with_name("report_template.html")
_LOOK = Path(__file__).with_name("report_style.css")
_MAX_NOTES = 40


def write_report(session: Path, target: Path, allocation: Path | None = None, catalogue: Path | None = None,
                 scorer: str = "scorer-64") -> None:
    """Make the report of a recorded session.

    Parameters
    ----------
    session : Path
        Folder that a live session left; one that was cut off is reported as far as it got.
    target : Path
        HTML file to write; replaced atomically.
    allocation : Path, optional
        Opened: without it the page of a blinded session tells nothing by which its arm could be known.
    catalogue : Path, optional
        The corpus with its audio; the one that the session was started with when left out.
    scorer : str
        The embedder that judges the music; another than chose it.

    Raises
    ------
    DatasetError
        The folder holds no session.
    SessionError
        The allocation is sealed, or another study's.
    """
    view = read_session(session, allocation)
    with matplotlib.rc_context(figures.style()):
        page = _page(view, None if view.hidden or view.is_free_run else session_music(session, catalogue, scorer))
    write_bytes(target, page.encode())


def _page(view: SessionView, music: Music | None) -> str:
    genres = [*view.clip_genres.values(), *view.steps.genre]
    colours = figures.genre_colours(genres)
    environment = jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True)
    template = environment.from_string(_TEMPLATE.read_text(encoding="utf-8"))
    notes = list(view.notes[:_MAX_NOTES])
    if len(view.notes) > _MAX_NOTES:
        notes.append(f"and {len(view.notes) - _MAX_NOTES} more in {SessionFolder(view.folder).record.name}")
    return template.render(
        style=markupsafe.Markup(_LOOK.read_text(encoding="utf-8")), title=view.start["run"]["run_id"],
        subtitle=_subtitle(view), banner=_banner(view),
        paragraphs=_paragraphs(view), tiles=_tiles(view), parts=_parts(view, colours), music=music,
        rows=_rows(view, colours), segments=segment_rows(view, colours), notes=notes, facts=_facts(view))


def _untrained(view: SessionView) -> bool:
    return view.bundle is not None and bool(view.bundle.manifest.accuracy.get("untrained"))


def _banner(view: SessionView) -> Banner | None:
    if view.hidden:
        return Banner("A blinded run", "What was decoded, scored and fed back could tell the arm, and is not shown. "
                      "Once the allocation was opened, make this page again with: innerear report SESSION "
                      "--allocation FILE")
    if _untrained(view):
        return Banner("A rehearsal", "The decoder of this session has random weights: it shows that the whole chain "
                      "works, and what it decodes is noise.")
    return None


def _subtitle(view: SessionView) -> str:
    bundle = view.start.get("bundle", {})
    length = f"{len(view.steps.volume)} volumes of {view.tr_s:g} s"
    parts = f"{len(view.segments)} segments" if view.is_free_run else f"{len(view.trials)} trials"
    if view.hidden:
        return f"{length} · {parts}"
    person = bundle.get("subject") or "an unnamed person"
    return f"decoder {bundle.get('name', '?')} of {person} · {length} · {parts}"


def _paragraphs(view: SessionView) -> list[str]:
    """The session in plain words; the first paragraph carries the verdict."""
    summary = view.summary
    n_volumes, usable = len(view.steps.volume), view.steps.status.count("OK")
    verb = "pretended" if _untrained(view) else "heard"
    heard = f", and {len(view.trials)} pieces of music were {verb} in it" if view.trials else ""
    chance = " (Chance is 0.50.)" if summary.get("identification_accuracy") is not None else ""
    first = f"The run lasted {n_volumes * view.tr_s:.0f} s{heard}."
    if not view.hidden:
        first += (" From the brain's response alone, volume by volume while the scan ran, the program guessed the "
                  f"music and played its guess. {cut(view)}"
                  + str(summary.get("verdict", "No summary was written, so nothing is scored.")) + chance)
    lost = view.steps.n_lost
    decision = view.latency.decision_ms[np.isfinite(view.latency.decision_ms)]
    speed, next_ms = "", view.latency.interval_ms
    if len(decision) and np.isfinite(next_ms) and not view.hidden:
        speed = (f"The decision for a volume came {np.median(decision):.0f} ms after the scanner had finished it "
                 f"(median; the slowest took {decision.max():.0f} ms, the next volume comes after {next_ms:.0f} ms). ")
    pace = 1e3 * view.tr_s / next_ms
    if pace > 1.1:
        times = f"{pace:.0f}" if pace > 100 else f"{pace:.3g}"
        speed = f"The run was streamed at {times} times the scanner's pace. {speed}"
    kept = f"{lost} volume{'s' if lost > 1 else ''} never came or could not be used" if lost else "No volume was lost"
    second = f"{speed}{kept}; {usable} of {n_volumes} volumes could be used as evidence."
    if view.stop.get("status", "complete") != "complete":
        second += f" The run ended early: {view.stop.get('reason') or 'no reason was given'}."
    if view.missing:
        second += f" Missing from the session's folder: {'; '.join(view.missing)}."
    return [first, second]


def _tiles(view: SessionView) -> list[Tile]:
    summary, decision = view.summary, view.latency.decision_ms
    decision = decision[np.isfinite(decision)]
    p_value = summary.get("identification_p")
    lost = Tile(str(view.steps.n_lost), f"volumes lost of {len(view.steps.volume)}")
    gaps = Tile(_number(summary.get("underruns"), "d"), "gaps in the sound")
    if view.hidden:
        moved = view.steps.displacement_mm[np.isfinite(view.steps.displacement_mm)]
        return [lost, gaps, Tile(_number(float(moved.mean()) if len(moved) else None, ".2f", " mm"),
                                 "mean framewise displacement"),
                Tile(str(view.steps.status.count("CENSORED")), "volumes that moved too much")]
    speed = Tile(_number(float(np.median(decision)) if len(decision) else None, ".0f", " ms"),
                 "volume to decision, median")
    if view.is_free_run:
        return [*free_run_tiles(view), speed, lost, gaps]
    return [Tile(_number(summary.get("identification_accuracy"), ".2f"),
                 "identification accuracy" + ("" if p_value is None else f", p = {p_value:.4f}")),
            Tile(_number(summary.get("identification_chance_p95"), ".2f"), "95 % of random guesses stay below"),
            Tile(_number(summary.get("median_rank"), ".3g"), f"median rank of {summary.get('candidates', '?')} clips"),
            speed, lost, gaps]


def _number(value: Any, form: str, unit: str = "") -> str:
    return "–" if value is None else f"{value:{form}}{unit}"


def _parts(view: SessionView, colours: dict[str, str]) -> list[Part]:
    lag = view.start.get("lag_volumes", 0)
    if view.hidden:
        return [_head_motion(view)]
    if view.is_free_run:
        parts = [Part("What was decoded and played",
                      "A segment begins where what is decoded has changed; a dashed line marks each border, at the "
                      "volume from which on the music was other. That is seen some volumes later, so the decoded row "
                      "trails the line. A paler block is a less probable genre.", figures.timeline(view, colours),
                      "Strips of genres decoded and played over time, with the posterior below")]
    else:
        parts = [Part("What was heard, decoded and played",
                      f"The brain answers late: evidence of a trial begins {lag} volumes after its onset, so the "
                      "decoded row trails the heard one. A paler block is a less probable genre.",
                      figures.timeline(view, colours),
                      "Strips of genres heard, decoded and played over time, with the posterior below"),
                 _identification(view, colours)]
    parts.append(_head_motion(view))
    if np.isfinite(view.latency.interval_ms):
        parts.append(Part("Latency", "Measured from the moment at which the scanner should have finished the volume, "
                          "so that waiting in a queue counts.", figures.latency(view),
                          "Latency over time and its distribution"))
    parts.append(_sound(view))
    if view.bundle is not None:
        parts.append(Part("Where the decoder looks", f"{len(view.bundle.voxels)} voxels on the training reference; the "
                          "slices that hold most of them.", figures.slices(view.bundle),
                          "Axial slices of the reference with the decoder's voxels"))
    return parts


def _head_motion(view: SessionView) -> Part:
    text = "Every volume was aligned to the training reference before its voxels were read."
    if not view.hidden:
        text += " DVARS is how much the decoder's voxels changed since the volume before, relative to their mean."
    return Part("Head motion", text, motion(view, view.motion_limit_mm),
                "Shift, turn and framewise displacement over time")


def _scored(view: SessionView) -> list[HeardTrial]:
    """Trials in the order of `identification_per_trial`; none when the summary does not match the record."""
    trials = [trial for trial in view.trials if trial.clip_id and not trial.is_dummy]
    return trials if len(view.summary.get("identification_per_trial") or ()) == len(trials) else []


def _identification(view: SessionView, colours: dict[str, str]) -> Part:
    heading, summary, trials = "Was the music decoded?", view.summary, _scored(view)
    if not trials or summary.get("identification_accuracy") is None:
        return Part(heading, "No trial could be scored: the session has no trials with clips of its catalogue, or no "
                    "summary.")
    text = ("For each trial: the share of the other clips of this run that fit the decoded music less well than the "
            "clip that was heard. The grey band holds the mean of nine in ten random assignments of the clips."
            + _kept(summary.get("coverage") or {}))
    keys = ("identification_accuracy", "identification_chance_p50", "identification_chance_p95")
    mean, p50, p95 = (float("nan") if summary[key] is None else float(summary[key]) for key in keys)
    image = figures.identification(summary["identification_per_trial"], trials, mean, p50, p95, colours)
    return Part(heading, text, image, "Score of each trial, and the mean beside its chance band")


def _kept(coverage: dict[str, Any]) -> str:
    """What abstaining left, in words; nothing where no trial could abstain."""
    if not coverage.get("least_confidence") or not coverage["trials"]:
        return ""
    n, kept = coverage["trials"], coverage["trials"] - coverage["abstained"]
    right = "" if not kept else (f" Over the {kept} that decided, identification is "
                                 f"{_number(coverage['identification_accuracy'], '.2f')} and the most probable clip "
                                 f"was the one heard in {_number(coverage['top1'], '.0%')}, against "
                                 f"{_number(coverage['top1_of_all'], '.0%')} of all.")
    return (f" In {coverage['abstained']} of {n} trials the program abstained: the {coverage['sure_of']} was less than "
            f"{coverage['least_confidence']:g} probable.{right}")


def _remark(number: int, summary: dict[str, Any]) -> str:
    """What kept a trial from deciding, or volumes from counting in it."""
    moved = (summary.get("moved_volumes") or {}).get(str(number))
    abstained = number in ((summary.get("coverage") or {}).get("abstained_trials") or ())
    return ", ".join([*(["abstained"] if abstained else []), *([f"{moved} left out for motion"] if moved else [])])


def _sound(view: SessionView) -> Part:
    heading, path = "What was played", SessionFolder(view.folder).played
    if not path.exists():
        return Part(heading, "The session has no recording of its sound.")
    try:
        recording = read_played(path)
    except PlaybackError as exc:
        return Part(heading, f"The recording cannot be read: {exc}")
    if len(recording.frames) < recording.rate_hz // 10:
        return Part(heading, "The recording is shorter than a tenth of a second.")
    return Part(heading, "Spectrogram of the recorded sound; a line marks the first sample of each new clip.",
                figures.spectrogram(recording, view.cues, view.clip_genres), "Spectrogram with marks at each cue")


def _rows(view: SessionView, colours: dict[str, str]) -> list[Row]:
    if view.hidden:
        return []
    scores = dict(zip((trial.number for trial in _scored(view)), view.summary.get("identification_per_trial") or (),
                      strict=False))
    steps, rows = view.steps, []
    for trial in view.trials:
        said = np.flatnonzero((steps.trial == trial.number) & (steps.n > 0))
        last = int(said[-1]) if len(said) else None
        genre = steps.genre[last] if last is not None else ""
        score = "dummy" if trial.is_dummy else _number(scores.get(trial.number), ".2f")
        rows.append(Row(
            number=trial.number, clip_id=trial.clip_id or "–", genre=trial.genre or "–",
            colour=colours.get(trial.genre, "transparent"),
            best_clip=steps.best_clip[last] if last is not None else "–", decoded_genre=genre or "–",
            decoded_colour=colours.get(genre, "transparent"),
            posterior=_number(None if last is None else float(steps.genre_confidence[last]), ".2f"),
            n_volumes=int(steps.n[last]) if last is not None else 0, score=score,
            remark=_remark(trial.number, view.summary)))
    return rows


def _facts(view: SessionView) -> Sequence[tuple[str, str]]:
    start, run, bundle = view.start, view.start["run"], view.start.get("bundle", {})
    space = start.get("space", {})
    if view.hidden:
        bundle = space = {}
    lines: list[tuple[str, Callable[[], str]]] = [
        ("run", lambda: f"{run['run_id']} from {run.get('source') or 'an unnamed source'}"),
        ("volumes", lambda: f"{' × '.join(map(str, run['shape']))} {run.get('dtype', '')}, TR {view.tr_s:g} s"),
        ("decoder", lambda: f"{bundle['name']}, {bundle['n_voxels']} voxels, manifest sha256 {bundle['sha256']}"),
        ("embedding", lambda: f"{space['name']}, {space['dim']} dimensions, sha256 {space['sha256']}"),
        ("catalogue", lambda: f"{start['n_clips']} clips"),
        ("timing", lambda: f"lag {start['lag_volumes']} volumes, window {start['window_volumes']} volumes"),
        ("software", lambda: str(start["software"])),
        ("status", lambda: str(view.stop["status"]))]
    facts = []
    for name, words in lines:
        try:
            facts.append((name, words()))
        except KeyError:
            continue
    return facts
