"""Checklists as one page and as JSON."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

import jinja2
import markupsafe

from offline_training.checklists.cobidas import cobidas
from offline_training.checklists.cred_nf import cred_nf
from offline_training.checklists.facts import Facts, read_facts
from offline_training.checklists.item import Item
from realtime.atomic import write_bytes, write_json

_TEMPLATE = Path(__file__).with_name("template.html")
_LOOK = Path(__file__).parents[1] / "report_style.css"
CHECKLISTS = {"cred_nf": ("CRED-nf", "Ros et al. 2020, Brain 143:1674", cred_nf),
              "cobidas": ("COBIDAS", "Nichols et al. 2017, Nat Neurosci 20:299, and what real time adds", cobidas)}


@dataclass(frozen=True)
class Checklist:
    """A whole checklist.

    Attributes
    ----------
    name, source : str
    items : tuple of Item
    """

    name: str
    source: str
    items: tuple[Item, ...]

    @property
    def counted(self) -> dict[str, int]:
        """How many items are in which state."""
        return dict(Counter(item.state for item in self.items))

    @property
    def areas(self) -> dict[str, list[Item]]:
        """Items under their headings."""
        found: dict[str, list[Item]] = {}
        for item in self.items:
            found.setdefault(item.area, []).append(item)
        return found


def write_checklists(path: Path, names: tuple[str, ...], target: Path, allocation: Path | None = None,
                     ) -> Mapping[str, dict[str, int]]:
    """Fill checklists from a session or visit.

    Parameters
    ----------
    path : Path
        Of the session or visit.
    names : tuple of str
        Of `CHECKLISTS`.
    target : Path
        HTML file to write; the same as JSON lies beside it.
    allocation : Path, optional
        Opened: without it a blinded study's arms are withheld.

    Returns
    -------
    counted : mapping of str to dict
        How many items of each checklist are filled, partly filled, asked, withheld.
    """
    known = read_facts(path, allocation)
    lists = {name: Checklist(*CHECKLISTS[name][:2], CHECKLISTS[name][2](known)) for name in names}
    write_bytes(target, _page(known, path, lists).encode())
    write_json(target.with_suffix(".json"), {
        name: {"name": each.name, "source": each.source, "counted": each.counted,
               "items": [asdict(item) for item in each.items]} for name, each in lists.items()})
    return {name: each.counted for name, each in lists.items()}


def _page(known: Facts, path: Path, lists: Mapping[str, Checklist]) -> str:
    environment = jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True)
    return environment.from_string(_TEMPLATE.read_text(encoding="utf-8")).render(
        style=markupsafe.Markup(_LOOK.read_text(encoding="utf-8")), title=path.resolve().name,
        subtitle=f"{known.subject} · {len(known.runs)} runs complete · {known.n_aborted} attempts aborted",
        hidden=known.hidden, lists=lists.values())
