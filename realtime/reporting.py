"""The page after a session: made by a process of its own, after the sound is off, and never in the way of anything."""

import asyncio
import sys
from pathlib import Path

NICENESS = 5
"""The next run may already be on."""


async def make_report(folder: Path) -> str:
    """Make `report.html` in the folder of a session or visit; returns why there is none, "" where there is.

    A report needs what training needs (matplotlib, jinja2), which a scanner's host may lack: then the sentence says
    how to make it elsewhere. Never raises for a report that cannot be made.
    """
    instead = f"make it with: innerear report {folder}"
    try:
        process = await asyncio.create_subprocess_exec(
            "nice", "-n", str(NICENESS), sys.executable, "-P", "-m", "innerear", "report", str(folder),
            stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.PIPE)
    except OSError as exc:
        return f"the report of {folder} cannot be made ({exc.strerror}); {instead}"
    try:
        _, complaint = await process.communicate()
    except asyncio.CancelledError:
        process.terminate()
        raise
    if process.returncode == 0:
        return ""
    lines = complaint.decode(errors="replace").strip().splitlines() or ["it said nothing"]
    return f"the report of {folder} was not made ({lines[-1]}); {instead}"
