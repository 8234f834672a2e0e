"""The plan of a visit on the page: what was done, what comes, and the picture that is to be judged. Pure."""

from html import escape

from realtime.console.panels import titled
from realtime.console.view import View
from realtime.console.visiting import PlannedRun, Visit

_SIGNS = {"done": "✓", "on": "▶", "next": "➜", "to come": "·", "left out": "–"}
_SAYS = {
    "go": "Press <kbd>G</kbd> to begin, then start the scan.",
    "accept": "Does the blue outline lie on this head, and do the orange voxels lie where they belong? "
              "<kbd>Y</kbd> accepts, <kbd>X</kbd> has it recorded again.",
    "in": "Press <kbd>I</kbd> when the subject lies in the scanner again: a new reference comes first.",
    "run": "Start the scan.",
    "over": "All is recorded. The report of a run: <code>innerear report FOLDER</code>",
}


def visit(view: View) -> str:
    """The runs in order, and what is waited for; beside them the reference that is judged."""
    at = view.visit
    if at is None:
        return ""
    rows = "".join(_row(run, number == at.place) for number, run in enumerate(at.runs))
    plan = (f'<div class="plan"><p class="verdict">{_asked(at)}</p>{_lie(at)}<table>{rows}</table></div>')
    return titled(f"Visit of {at.subject}", f'<div class="visiting">{_picture(at)}{plan}</div>', _put_in(at))


def _asked(at: Visit) -> str:
    run = f"<b>{escape(at.run)}</b>: " if at.run and at.waiting in ("go", "run", "accept") else ""
    return run + _SAYS.get(at.waiting, "")


def _lie(at: Visit) -> str:
    if at.lie is None:
        return ""
    return (f'<p class="lie">correlation with the training reference <b>{at.lie.correlation:.3f}</b>; the head lay '
            f"{at.lie.shift_mm:.1f} mm and {at.lie.turn_deg:.1f}° from there</p>")


def _put_in(at: Visit) -> str:
    return "" if at.positioning < 2 else f"put into the scanner {at.positioning} times"


def _row(run: PlannedRun, here: bool) -> str:
    tries = [] if run.n_done < 2 else [f"{run.n_done} times"]
    tries += [] if not run.n_aborted else [f"{run.n_aborted} aborted"]
    mark = ' class="here"' if here and run.state != "done" else ""
    return (f"<tr{mark}><td>{_SIGNS[run.state]}</td><td>{escape(run.name)}</td><td>{escape(run.kind)}</td>"
            f"<td>{run.n_volumes} volumes</td><td>{run.state}{', ' + ', '.join(tries) if tries else ''}</td></tr>")


def _picture(at: Visit) -> str:
    if at.waiting != "accept":
        return ""
    if at.lie is None:
        return '<div class="overlay"><p class="empty">no picture could be made</p></div>'
    return f'<div class="overlay"><img alt="reference" src="/overlay?{escape(at.run)}"></div>'
