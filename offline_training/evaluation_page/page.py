"""One HTML file with everything in it, from the figures of an evaluation alone."""

import json
from pathlib import Path
from typing import Any

import jinja2
import markupsafe
import matplotlib

from offline_training.errors import DatasetError
from offline_training.evaluation_page import decoding, growth, models, music
from offline_training.evaluation_page.part import Figures, Part, Section, number
from offline_training.report_figures import style
from realtime.atomic import write_bytes

SECTIONS: tuple[Section, ...] = (
    decoding.measures, decoding.controls, decoding.genres, decoding.classes, music.music, growth.over_time,
    growth.repeats, growth.sureness, growth.live, models.targets, decoding.left_out, models.encoding, models.leakage)
"""In order; one that gives None for lack of figures is left out."""
_FORMAT = "innerear evaluation"
_FOLDER = Path(__file__).parent


def write_page(figures: Figures, target: Path) -> None:
    """Write the page of an evaluation, atomically.

    Parameters
    ----------
    figures : mapping
        As `innerear evaluate --json` writes them.
    target : Path
        HTML file.
    """
    with matplotlib.rc_context(style()):
        page = _page(figures)
    write_bytes(target, page.encode())


def read_figures(path: Path, formats: tuple[str, ...] = (_FORMAT,)) -> dict[str, Any]:
    """Figures of an evaluation, or of what else has one of these formats.

    Raises
    ------
    DatasetError
        The file cannot be read, or holds something else.
    """
    try:
        figures = json.loads(path.read_bytes())
    except (OSError, ValueError) as exc:
        raise DatasetError(f"{path} cannot be read as figures of an evaluation ({exc}); make them with: innerear "
                           "evaluate BUNDLE DATASET --json FILE") from exc
    if not isinstance(figures, dict) or not str(figures.get("format", "")).startswith(formats):
        raise DatasetError(f"{path} holds no figures of an evaluation; make them with: innerear evaluate BUNDLE "
                           "DATASET --json FILE")
    return figures


def render(**shown: Any) -> str:
    """A page: title, subtitle, verdict, tiles, parts, facts."""
    environment = jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True)
    template = environment.from_string((_FOLDER / "template.html").read_text(encoding="utf-8"))
    look = (_FOLDER.parent / "report_style.css").read_text(encoding="utf-8")
    return template.render(style=markupsafe.Markup(look), **shown)


def _page(figures: Figures) -> str:
    about = figures["about"]
    parts: list[Part] = [part for section in SECTIONS if (part := section(figures)) is not None]
    return render(
        title=about["bundle"], parts=parts, tiles=_tiles(figures), facts=_facts(about), verdict=figures["verdict"],
        subtitle=f"{about['subject'] or 'an unnamed person'} · {len(about['runs'])} held-out runs · "
                 f"{figures['single_trials']['identification']['n_trials']} trials")


def _tiles(figures: Figures) -> list[tuple[str, str]]:
    single, averaged = figures["single_trials"], figures["clips_averaged"]
    null = single["identification"]["null"] or {}
    return [(number(single["identification"]["value"], ".2f"), "identification, single trials"),
            (number(null.get("p95"), ".2f"), "95 % of shuffles stay below"),
            (number(averaged["identification"]["value"], ".2f"), "identification, hearings averaged"),
            (number(single["within_genre"]["value"], ".2f"), "within genre, single trials"),
            (number((single["median_rank"] or {}).get("value"), ".3g"),
             f"median rank of {single['identification']['n_clips']} clips")]


def _facts(about: dict[str, Any]) -> list[tuple[str, str]]:
    space = about["space"]
    return [("decoder", f"{about['bundle']}, {about['n_voxels']} voxels"),
            ("embedding", f"{space['name']}, {space['dim']} dimensions, sha256 {space['sha256']}"),
            ("runs", ", ".join(about["runs"])),
            ("timing", f"TR {about['tr_s']:g} s, lag {about['lag_volumes']} volumes, window "
                       f"{about['window_volumes']} volumes"),
            ("chance", f"{about['n_permutations']} permutations, {about['n_resamples']} bootstrap resamples, seed "
                       f"{about['seed']}"),
            ("catalogue", f"{about['n_catalogue']} clips")]
