"""Where the console of a visit stands: it stops the run that is on, and starts the visit again."""

from pathlib import Path

from realtime.console.post import Post, bus_of, chance_arguments
from realtime.visit.folder import VisitFolder
from realtime.visit.plan import PlanSettings


def post_of_visit(plan: PlanSettings, path: Path) -> Post:
    """Where a console of the visit stands whose plan was read from this file."""
    folder = VisitFolder(plan.folder)
    chance = () if plan.allocation is not None else chance_arguments(plan.bundle, plan.catalogue)
    return Post(bus_of(plan.bus, folder.home), plan.bus.broker == "embedded", plan.console, folder.home,
                folder.begun_last, ("session", str(path)), ("check", "--plan", str(path), "--lines"), chance)
