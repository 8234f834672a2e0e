"""What a trained generator can do, as a page beside it."""

from typing import Any

WANTED = {"identification": 0.95, "genre": 0.9, "lead": 0.85, "mood": 0.7}


def page(name: str, report: dict[str, Any]) -> str:
    """Markdown of a report with figures."""
    lines = [
        f"# {name}", "",
        f"Made by `{report['command']}`. Settings, figures and checksums: `report.json`, `spec.json`.", "",
        f"Conditioned by clean embeddings of unseen clips in `{report['space']['name']}`, ten seconds each, and scored "
        f"by `{report['scorer']['name']}`, which had no part in it. Identification accuracy has chance 0.5; the others "
        "are the share of pieces that the scorer puts into the same class as the clip. In brackets the same with the "
        "clips permuted.", "",
        "Clips of a *corpus* are as `innerear corpus compose` makes them; *mixed* ones borrow parts and voices from "
        "other genres.", "",
        "| clips | generator | n | identification | genre | lead instrument | mood |", "|---|---|---|---|---|---|---|"]
    for population, by_generator in report["figures"].items():
        for generator, figures in by_generator.items():
            told = [f"{figures[kind]['value']:.2f} ({figures[kind]['permuted']:.2f})" for kind in WANTED]
            lines.append(f"| {population} | {generator} | {figures['genre']['n']} | {' | '.join(told)} |")
    bars = ", ".join(f"{kind} {least}" for kind, least in WANTED.items())
    lines += ["", f"Wanted of the clips of a corpus, at least: {bars}. "
              + " ".join(_short(name, figures) for name, figures in report["figures"]["corpus"].items())]
    loss = f"The token model's loss on its training pieces is {report['nats_per_token']:.2f} nats per token."
    return "\n".join([*lines, "", loss, ""])


def _short(name: str, figures: dict[str, Any]) -> str:
    """What a generator does not reach, in words."""
    missed = [f"{kind} ({figures[kind]['value']:.2f})" for kind, least in WANTED.items()
              if figures[kind]["value"] < least]
    return f"The {name} misses {', '.join(missed)}." if missed else f"The {name} reaches all of them."
