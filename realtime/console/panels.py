"""The page's panels as HTML. Pure: a view in, markup out; everything that came from outside is escaped."""

from collections.abc import Sequence
from html import escape

from realtime.console import charts
from realtime.console.alarms import Alarm
from realtime.console.findings import Finding
from realtime.console.slices import picture
from realtime.console.view import ChanceBand, View

N_ALARMS = 3
_SIGNS = {"person": ("⬢", "NOW"), "data": ("▲", "SOON"), "note": ("●", "NOTE")}
_MARKS = {"good": ("✓", "in order"), "bad": ("✗", "BROKEN"), "open": ("·", "not checked"), "running": ("…", "checking")}
_VEILED = "What was decoded is hidden: this session is blinded."
CONTROLS = (
    ("preflight", "F", "Check all"), ("arm", "A", "Arm"), ("start", "S", "Start"), ("pause", "P", "Pause"),
    ("abort", "B", "Abort"), ("retry", "R", "Retry"), ("mark", "M", "Mark"), ("note", "N", "Note"),
    ("quieter", "−", "Quieter"), ("louder", "+", "Louder"), ("mute", "U", "Mute"), ("end", "E", "End session"),
    ("acknowledge", "K", "Seen"), ("rearm", "L", "Sound again"),
)
BETWEEN = (
    ("go", "G", "Begin the run"), ("accept", "Y", "Accept"), ("refuse", "X", "Refuse"), ("again", "D", "Do again"),
    ("skip", "J", "Leave out"), ("out", "O", "Subject out"), ("in", "I", "Subject in"),
    ("finish", "Q", "End the visit"), ("acknowledge", "K", "Seen"), ("rearm", "L", "Sound again"),
)
_STEPS = (
    ("F", "Check all: each link from the scanner to the sound, and once the whole way with a simulated scanner."),
    ("A", "Arm: the live program starts and waits for volumes. It outlives this page."),
    ("▶", "Start the scan. If the session waits for you, press S when the person is ready."),
    ("Esc", "STOP silences at once, whatever else is dead, until L is pressed twice."),
)
_TWICE = ("abort", "retry", "end", "rearm", "skip", "out", "finish")


def head(view: View) -> str:
    """The state, whose session it is, the volume, and when the next is expected."""
    story, line, clock = view.story, view.headline, view.clock
    count = "" if story.volume < 0 else f"{story.volume + 1}<small>/{story.n_volumes or '?'}</small>"
    gaps, rejected, moved = story.counts
    person = story.about.subject or (view.visit.subject if view.visit is not None else "") or "–"
    blind = '<span class="badge">BLINDED</span>' if story.about.blinded else ""
    return (f'<div class="state {line.tone}"><b>{escape(line.word)}</b><span>{escape(line.sentence)}</span></div>'
            f'<div class="cell"><label>person</label><b>{escape(person)}</b>{blind}</div>'
            f'<div class="cell"><label>volume</label><b>{count or "–"}</b></div>'
            f'<div class="cell"><label>lost · refused · moved</label><b>{gaps} · {rejected} · {moved}</b></div>'
            f'<div class="clock {"late" if clock.late else ""}"><label>{_since(view)}</label><b>{_expected(view)}</b>'
            f'<i style="width:{100 * clock.share:.0f}%"></i></div>')


def _since(view: View) -> str:
    return "last volume" if view.clock.since_s is None else f"last volume {view.clock.since_s:.1f} s ago; next"


def _expected(view: View) -> str:
    expected_s = view.clock.expected_in_s
    if expected_s is None:
        return "–"
    return f"▲ {-expected_s:.1f} s late" if view.clock.late else f"in {max(expected_s, 0.0):.1f} s"


def alarm_list(alarms: Sequence[Alarm]) -> str:
    """The worst three, and how many more there are."""
    if not alarms:
        return '<div class="alarm quiet">Nothing to act on.</div>'
    rows = [_alarm(alarm) for alarm in alarms[:N_ALARMS]]
    if len(alarms) > N_ALARMS:
        rows.append(f'<div class="more">+ {len(alarms) - N_ALARMS} more below these; K puts aside what was read</div>')
    return "".join(rows)


def _alarm(alarm: Alarm) -> str:
    sign, when = _SIGNS[alarm.severity]
    times = f" <small>({alarm.count} times)</small>" if alarm.count > 1 else ""
    return (f'<div class="alarm {alarm.severity}"><b>{sign} {when}</b><span>{escape(alarm.text)}{times} '
            f"<em>{escape(alarm.remedy)}</em></span></div>")


def slices(view: View) -> str:
    """Three slices of the last volume with the decoder's voxels."""
    story = view.story
    if not story.planes:
        return titled("Slices", '<p class="empty">with the first volume</p>')
    what = "no voxels drawn: blinded" if story.about.blinded else '<s class="vox"></s> the decoder\'s voxels'
    return titled(f"Slices of volume {story.planes_volume + 1}",
                   f'<div class="planes">{"".join(picture(plane) for plane in story.planes)}</div>', what)


def motion(view: View) -> str:
    """Six traces: shifts and turns."""
    points = view.story.points[-charts.N_SHOWN:]
    names = (("right", charts.SKY, ""), ("front", charts.ORANGE, "7 3"), ("up", charts.YELLOW, "2 3"))
    rows = []
    for first, unit in ((0, "mm"), (3, "°")):
        series = [(name, colour, dash, [None if point.six is None else point.six[first + place] for point in points])
                  for place, (name, colour, dash) in enumerate(names)]
        rows.append(charts.traces(points, series, 70, 0.5, unit, from_zero=False))
    signs = {"": "━", "7 3": "╍", "2 3": "┅"}
    legend = " ".join(f'<span style="color:{colour}">{signs[dash]} {name}</span>' for name, colour, dash in names)
    return titled("Motion: shift, turn", "".join(rows), legend)


def quality(view: View) -> str:
    """Framewise displacement, DVARS and tSNR: the last figure large, the trace beside it."""
    points, last = view.story.points[-charts.N_SHOWN:], view.point
    rows = []
    for name, unit, least, colour, values in (
            ("FD", "mm", 0.5, charts.SKY, [point.fd_mm for point in points]),
            ("DVARS", "%", 2.0, charts.ORANGE, [point.dvars_percent for point in points]),
            ("tSNR", "", 20.0, charts.YELLOW, [point.tsnr for point in points])):
        now = values[-1] if last is not None and values else None
        hidden = view.story.about.blinded and name != "FD"
        figure = "hidden" if hidden else "–" if now is None else f"{now:.2f}" if name == "FD" else f"{now:.1f}"
        chart = "" if hidden else charts.traces(points, [(name, colour, "", values)], 62, least, unit, width=290)
        rows.append(f'<div class="figure"><div><label>{name} {unit}</label><b>{figure}</b></div>{chart}</div>')
    return titled("Data quality", "".join(rows))


def evidence(view: View, chance: ChanceBand | None) -> str:
    """The trial's five best clips with their posterior, and how the best one's grew against what noise reaches."""
    trial, about = view.story.trial, view.story.about
    name = "no trial" if trial.number < 0 else f"{trial.kind} {trial.number + 1}"
    name += f", {trial.response}" if trial.response else ""
    count = "" if trial.number < 0 else f"{trial.n} of {about.window_volumes} volumes speak"
    if about.blinded:
        share = 100 * min(trial.n / about.window_volumes, 1.0) if about.window_volumes else 0.0
        return titled(f"Evidence: {name}", f'<p class="veiled">{_VEILED}</p><i class="share"><u style="width:'
                                            f'{share:.0f}%"></u></i>', count)
    longest = max([1e-9, *[item.posterior for item in trial.top]])
    level = 1.0 / about.n_clips if about.n_clips else None
    rows = [f'<div class="candidate"><span>{escape(item.clip_id)}</span><i><u style="width:'
            f'{100 * item.posterior / longest:.0f}%"></u></i><b>{item.posterior:.2f}</b>'
            f"<small>{escape(item.genre)}</small></div>" for item in trial.top]
    body = "".join(rows) or '<p class="empty">with the first volume that speaks for a trial</p>'
    is_heard_trial = trial.kind == "trial" and not trial.response
    band = chance.after(trial.n, is_heard_trial=is_heard_trial) if chance is not None else None
    note = "" if level is None else f'<p class="key">┅ chance is {level:.3f} ({about.n_clips} clips)</p>'
    return titled(f"Evidence: {name}", body + charts.growth(trial.growth, about.window_volumes, level, band) + note,
                   count)


def sound(view: View) -> str:
    """What plays, how sure that was, how loud it is, and the dose."""
    story, heard = view.story, view.story.sound
    if heard is None:
        return titled("Sound", '<p class="empty">no player yet</p>')
    title = "hidden: blinded" if story.about.blinded else heard.sounding or "silence"
    alike = next((item.similarity for item in story.trial.top if item.clip_id == heard.sounding), None)
    how = "" if alike is None else f"similarity {alike:.2f}"
    why = "" if story.about.blinded else escape(story.trial.why)
    level = f"{heard.momentary_lufs:.0f} LUFS" if heard.level_dba is None else f"{heard.level_dba:.0f} dBA"
    level = "silent" if heard.momentary_lufs < -70 else level
    dose = "unknown" if heard.dose_percent is None else f"{heard.dose_percent:.0f} %"
    volume = "–" if heard.volume_db is None else f"{heard.volume_db:+.0f} dB"
    if view.stopped:
        chosen = "" if story.about.blinded else story.trial.playing
        title, how, why = "off: STOP holds", "", escape(f"chosen: {chosen}") if chosen else ""
    state = "STOPPED" if view.stopped else "MUTED" if heard.muted else volume
    return titled("Sound", f'<div class="title">♪ {escape(title)}</div><p class="key">{how} {why}</p>'
                            f'<div class="four"><div><label>level</label><b>{level}</b></div>'
                            f'<div><label>volume</label><b>{state}</b></div>'
                            f'<div><label>dose today</label><b>{dose}</b></div>'
                            f'<div><label>dropouts</label><b>{heard.underruns}</b></div></div>', escape(heard.sink))


def waterfall(view: View) -> str:
    """Where the time goes, volume by volume."""
    last = view.point.stages_ms[-1] if view.point is not None else None
    figure = "" if last is None else f"{last:.0f} ms, {last / (10 * view.story.tr_s):.0f} % TR"
    if view.story.about.blinded:
        figure = "decisions hidden"
    return titled("Latency: due → decided", charts.waterfall(view.story.points), figure)


def timeline(view: View) -> str:
    """The run as a line."""
    legend = (f'<span style="color:{charts.DIM}">□ trial</span> <span style="color:{charts.SKY}">■ its volumes</span> '
              f'<span style="color:{charts.ORANGE}">× lost</span> <span style="color:{charts.VERMILION}">▫ refused'
              f'</span> <span style="color:{charts.PURPLE}">● moved</span> <span style="color:{charts.YELLOW}">⚑ alarm'
              "</span>")
    return titled("Run", charts.timeline(view.story), legend)


def preflight(view: View, findings: Sequence[Finding], running: bool) -> str:
    """The way from the scanner to the broker, link by link, and the first that is broken."""
    links = [f'<div class="link {item.mark}"><b>{_MARKS[item.mark][0]}</b><span>{escape(item.link)}</span>'
             f"<small>{_MARKS[item.mark][1]}</small></div>" for item in findings]
    broken = next((item for item in findings if item.mark == "bad"), None)
    if running:
        verdict = '<p class="verdict">Checking, link by link …</p>'
    elif broken is not None:
        verdict = f'<p class="verdict bad">▲ {escape(broken.sentence)}</p>'
    elif all(item.mark == "open" for item in findings):
        verdict = '<p class="verdict">Press F to check everything, from the scanner to the sound.</p>'
    else:
        verdict = '<p class="verdict good">✓ Everything is in order. Press A to arm, then start the scan.</p>'
    rows = [f"<tr><td>{_MARKS[item.mark][0]}</td><td>{escape(item.link)}</td><td>{escape(item.sentence)}</td></tr>"
            for item in findings if item.mark != "open"]
    return titled("Before the run", f'<div class="links">{"<i>➜</i>".join(links)}</div>{verdict}'
                                     f"<table>{''.join(rows) or _steps()}</table>", escape(view.story.link))


def _steps() -> str:
    return "".join(f"<tr><td><kbd>{key}</kbd></td><td></td><td>{escape(text)}</td></tr>" for key, text in _STEPS)


def controls(view: View) -> str:
    """The buttons, with their keys; those that would do nothing now are dim."""
    muted = view.story.sound is not None and view.story.sound.muted
    paused = view.story.trial.why == "paused"
    names = {"mute": "Unmute" if muted else "Mute", "pause": "Resume" if paused else "Pause",
             "end": "End session" if view.visit is None else "End the run"}
    usable = view.keys | ({"quieter", "louder"} if "volume" in view.keys else set())
    buttons = [f'<button data-deed="{deed}"{" data-twice" if deed in _TWICE else ""}'
               f'{"" if deed in usable else " disabled"}><kbd>{key}</kbd>{names.get(deed, name)}</button>'
               for deed, key, name in (BETWEEN if view.between else CONTROLS)]
    stop = ("STOPPED", "L, twice: sound again") if view.stopped else ("STOP", "Esc: silence at once")
    return (f'<div class="buttons">{"".join(buttons)}</div>'
            f'<button id="stop" class="{"held" if view.stopped else ""}" data-deed="stop"><b>{stop[0]}</b>'
            f"<small>{stop[1]}</small></button>")


def titled(title: str, body: str, aside: str = "") -> str:
    """A panel with its title, and a word at the right of it."""
    return f'<h2>{escape(title)}<span>{aside}</span></h2>{body}'
