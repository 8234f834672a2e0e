"""Charts as SVG: traces over volumes, latency as a waterfall, the timeline of the run. Pure.

Colours are Okabe and Ito's, which the colour-blind tell apart; whatever a colour says, a shape or a word says too.
"""

from collections.abc import Sequence

from realtime.console.story import Point, Span, Story

SKY, ORANGE, YELLOW, BLUE, VERMILION, GREEN, PURPLE = (
    "#56b4e9", "#e69f00", "#f0e442", "#0072b2", "#ff7f3a", "#2fc79a", "#e29ac4")
INK, DIM, LINE = "#f2f4f7", "#aab4c0", "#3a4654"
N_SHOWN = 120
_TIMES_MEDIAN = 5.0  # one outlier shall not flatten the rest: it ends at the upper edge
_STAGES = (("arrival", SKY), ("to disk", YELLOW), ("decode", ORANGE), ("decide", PURPLE))
WIDTH = 400


def traces(points: Sequence[Point], series: Sequence[tuple[str, str, str, Sequence[float | None]]], height: int,
           least: float, unit: str, from_zero: bool = True, width: int = WIDTH) -> str:
    """Lines over the last volumes.

    Parameters
    ----------
    points : sequence of Point
        Whose volumes the horizontal axis shows.
    series : sequence of (name, colour, dash, values)
        A value for each point; None leaves a hole. `dash` is an SVG dash array, "" for none.
    height : int
        Of the picture.
    least : float
        Smallest extent of the vertical axis, so that noise looks like noise.
    unit : str
        Behind the axis's numbers.
    from_zero : bool
        Begin at 0; else the axis lies around 0.
    width : int
        Of the picture.
    """
    known = sorted(abs(value) for _, _, _, values in series for value in values if value is not None)
    top = 1.05 * max(least, min(known[-1], _TIMES_MEDIAN * known[len(known) // 2])) if known else least
    low = 0.0 if from_zero else -top
    left, right, bottom = 44, width - 4, height - 4
    y = _Scale(low, top, bottom, 6)
    x = _Scale(0, max(N_SHOWN - 1, 1), left, right)
    parts = [f'<svg viewBox="0 0 {width} {height}" class="chart">']
    for value in (0.0, top) if from_zero else (-top, 0.0, top):
        parts.append(f'<line x1="{left}" x2="{right}" y1="{y(value):.1f}" y2="{y(value):.1f}" stroke="{LINE}"/>')
        parts.append(f'<text x="{left - 5}" y="{min(max(y(value) + 5, 13), height - 2):.1f}" text-anchor="end">'
                     f'{_short(value)}</text>')
    offset = N_SHOWN - len(points)
    for _, colour, dash, values in series:
        path = _path([(x(offset + place), None if value is None else y(max(low, min(value, top))))
                      for place, value in enumerate(values)])
        dashes = f' stroke-dasharray="{dash}"' if dash else ""
        parts.append(f'<path d="{path}" stroke="{colour}" fill="none" stroke-width="2"{dashes}/>')
    parts.append(f'<text x="{right}" y="14" text-anchor="end" class="unit">{unit}</text></svg>')
    return "".join(parts)


def waterfall(points: Sequence[Point]) -> str:
    """The last volumes' times from due to decided, a bar each, in stages of different colour and order."""
    rows = [point for point in points if point.stages_ms[0] is not None][-8:]
    height, bar = 16 * 8 + 22, 12
    longest = max([10.0, *[value for point in rows for value in point.stages_ms if value is not None]])
    x = _Scale(0.0, longest, 44, WIDTH - 64)
    parts = [f'<svg viewBox="0 0 {WIDTH} {height}" class="chart">']
    for row, point in enumerate(reversed(rows)):
        y, before = 16 * row, 0.0
        parts.append(f'<text x="38" y="{y + 11}" text-anchor="end">{point.volume + 1}</text>')
        for (_, colour), value in zip(_STAGES, point.stages_ms, strict=True):
            if value is not None:
                begin = max(before, 0.0)
                parts.append(f'<rect x="{x(begin):.1f}" y="{y}" width="{max(x(value) - x(begin), 0.5):.1f}" '
                             f'height="{bar}" fill="{colour}"/>')
                before = value
        parts.append(f'<text x="{x(max(before, 0.0)) + 5:.1f}" y="{y + 11}">{before:.0f} ms</text>')
    legend = "".join(f'<tspan fill="{colour}">■ {name} </tspan>' for name, colour in _STAGES)
    parts.append(f'<text x="44" y="{height - 5}">{legend}</text></svg>')
    return "".join(parts)


def growth(values: Sequence[float], window: int, chance: float | None, band: float | None) -> str:
    """Posterior of the best clip over the trial's volumes, with chance and what noise reaches."""
    height, left, right = 92, 44, WIDTH - 4
    top = max([0.1, *values, *([band] if band is not None else [])]) * 1.1
    y, x = _Scale(0.0, top, height - 6, 6), _Scale(0, max(window, len(values), 2), left, right)
    parts = [f'<svg viewBox="0 0 {WIDTH} {height}" class="chart">']
    if band is not None:
        parts.append(f'<rect x="{left}" width="{right - left}" y="{y(band):.1f}" height="{y(0) - y(band):.1f}" '
                     f'fill="url(#hatch)"/><text x="{right}" y="{max(y(band) - 3, 13):.1f}" text-anchor="end">'
                     "noise stays below (95 %)</text>")
    if chance is not None:
        parts.append(f'<line x1="{left}" x2="{right}" y1="{y(chance):.1f}" y2="{y(chance):.1f}" stroke="{DIM}" '
                     'stroke-dasharray="2 4"/>')
    places = [(x(place + 1), y(value)) for place, value in enumerate(values)]
    parts.append(f'<path d="{_path(places)}" stroke="{SKY}" fill="none" stroke-width="2.5"/>')
    parts += [f'<circle cx="{at:.1f}" cy="{high:.1f}" r="4" fill="{SKY}"/>' for at, high in places]
    parts.append(f'<text x="{left - 5}" y="14" text-anchor="end">{top:.2f}</text>'
                 f'<text x="{left - 5}" y="{height - 4}" text-anchor="end">0</text></svg>')
    return "".join(parts)


def timeline(story: Story, width: int = 1240) -> str:
    """The whole run: trials as boxes, what went wrong as marks of different shape, alarms as flags, and now."""
    length = max(story.n_volumes or 0, story.volume + 1, 20)
    x = _Scale(0, length, 4, width - 4)
    parts = [f'<svg viewBox="0 0 {width} 62" class="chart" preserveAspectRatio="none">']
    window, lag = story.about.window_volumes, story.about.lag_volumes
    for number, onset in enumerate(story.about.onset_volumes):
        if onset < length:
            end = min(onset + max(window, 1), length)
            parts.append(f'<rect x="{x(onset):.1f}" y="18" width="{max(x(end) - x(onset) - 2, 1):.1f}" height="22" '
                         f'fill="none" stroke="{DIM}"/>')
            if x(end) - x(onset) > 20:
                parts.append(f'<text x="{x(onset) + 4:.1f}" y="34" fill="{DIM}">{number + 1}</text>')
    parts += [_span(span, x, lag) for span in story.spans]
    parts += [f'<path d="M {x(told.volume + 1):.1f} 16 v -13 l 9 4 l -9 4" fill="{YELLOW}"><title>alarm</title></path>'
              for told in story.told if told.volume >= 0]
    now = x(story.volume + 1)
    parts.append(f'<line x1="{now:.1f}" x2="{now:.1f}" y1="2" y2="46" stroke="{INK}" stroke-width="2.5"/>')
    anchor = "end" if now > width - 90 else "start"
    parts.append(f'<text x="{now - 6 if anchor == "end" else now + 6:.1f}" y="14" text-anchor="{anchor}" '
                 f'fill="{INK}">now</text>')
    every = next(step for step in (5, 10, 20, 50, 100, 200, 500, 1000, 5000, 100_000) if length / step <= 14)
    parts += [f'<text x="{x(volume):.1f}" y="59" text-anchor="middle">{volume}</text>'
              for volume in range(every, length, every)]
    return "".join((*parts, "</svg>"))


def _span(span: Span, x: "_Scale", lag: int) -> str:
    left, right = x(span.first), x(span.last + 1)
    if span.kind == "trial":
        return (f'<rect x="{x(span.first - lag):.1f}" y="20" width="{max(right - left - 2, 1):.1f}" height="18" '
                f'fill="{BLUE}" opacity="0.85"/><text x="{x(span.first - lag) + 4:.1f}" y="34" fill="{INK}">'
                f'{span.number + 1}</text>')
    middle = (left + right) / 2
    if span.kind == "CENSORED":
        return f'<circle cx="{middle:.1f}" cy="44" r="3" fill="{PURPLE}"><title>moved</title></circle>'
    if span.kind == "GAP":
        return (f'<path d="M {middle - 4:.1f} 40 l 8 8 m 0 -8 l -8 8" stroke="{ORANGE}" stroke-width="2.5">'
                "<title>lost</title></path>")
    return (f'<rect x="{middle - 4:.1f}" y="40" width="8" height="8" fill="none" stroke="{VERMILION}" '
            'stroke-width="2.5"><title>refused</title></rect>')


class _Scale:
    def __init__(self, low: float, high: float, first: float, last: float) -> None:
        self._low, self._first, self._slope = low, first, (last - first) / (high - low)

    def __call__(self, value: float) -> float:
        return self._first + (value - self._low) * self._slope


def _path(places: Sequence[tuple[float, float | None]]) -> str:
    words, down = [], False
    for x, y in places:
        if y is None:
            down = False
            continue
        words.append(f"{'L' if down else 'M'}{x:.1f} {y:.1f}")
        down = True
    if len(words) == 1:
        words.append("h0.1")
    return " ".join(words)


def _short(value: float) -> str:
    return "0" if value == 0 else f"{value:.1f}" if abs(value) < 10 else f"{value:.0f}"
