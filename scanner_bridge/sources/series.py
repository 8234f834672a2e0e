"""DICOM objects in any order, one after the other, to whole volumes: the seam behind folders and C-STORE. Pure.

Whoever has an object's bytes hands them to `Assembler.take` and acts on the verdict. Volumes are taken
from the series by index; order, waiting and gaps are the caller's (`ordering` decides on them).
"""

import zlib
from collections.abc import Callable
from dataclasses import replace

from scanner_bridge.errors import ForeignError, SkippedError, SourceError
from scanner_bridge.sources.assembly import SeriesAssembly, run_name
from scanner_bridge.sources.dicom_image import Acquisition, Image, maker_of
from scanner_bridge.sources.dicom_object import read_object
from scanner_bridge.sources.dicom_reader import interpret
from scanner_bridge.sources.par_rec import is_par, read_par_rec
from scanner_bridge.sources.verdict import Verdict


class Assembler:
    """All series of a folder or a connection.

    Attributes
    ----------
    series : dict of str to SeriesAssembly
        By run_id, in order of appearance; those that a rule leaves alone, too.

    Parameters
    ----------
    scope : str
        Names the run of objects that do not name it themselves (PAR/REC), like the folder they are in.
    """

    def __init__(self, scope: str = "") -> None:
        self.series: dict[str, SeriesAssembly] = {}
        self._scope = scope

    def take(self, name: str, content: bytes) -> Verdict:
        """Take one object in. Raises nothing, whatever the bytes are.

        Parameters
        ----------
        name : str
            What to call it in sentences, like its file's name.
        content : bytes
            The whole of a DICOM file; or of a PAR file with its REC file behind it.

        Returns
        -------
        verdict : Verdict
            What became of it. No value of its header is in it but its series' number.
        """
        verdict = self._take(content)
        return replace(verdict, reason=f"{name}: {verdict.reason}") if verdict.reason else verdict

    def _take(self, content: bytes) -> Verdict:
        try:
            empty, read = self._open(content)
        except SourceError as error:
            return _refusal(error, "")
        is_new = empty.run_id not in self.series
        series = self.series.setdefault(empty.run_id, empty)
        before = series.acquisition
        try:
            verdict = series.add(read(), zlib.crc32(content))
        except SkippedError as error:
            series.left_alone[error.rule] += 1
            began = f"{series.name} begins: {error}" if is_new else ""
            return replace(_refusal(error, series.run_id), began=began)
        except SourceError as error:
            return _refusal(error, series.run_id)
        if before is None and series.acquisition is not None:
            return replace(verdict, began=self._relation(series, series.acquisition))
        return verdict

    def _open(self, content: bytes) -> tuple[SeriesAssembly, Callable[[], Image]]:
        """The series an object belongs to, empty; and what reads its slices."""
        if is_par(content):
            return SeriesAssembly(run_name(0, self._scope), 0, "Philips"), lambda: read_par_rec(content, self._scope)
        image = read_object(content)
        number = image.fields.integer("SeriesNumber")
        run_id = run_name(number, image.fields.text("SeriesInstanceUID"))
        return SeriesAssembly(run_id, number, maker_of(image.fields)), lambda: interpret(image)

    def _relation(self, series: SeriesAssembly, now: Acquisition) -> str:
        """How a series that begins relates to the latest one before it, in words."""
        earlier = [other for other in self.series.values() if other is not series and other.acquisition is not None]
        if not earlier or earlier[-1].acquisition is None:
            return f"{series.name} begins"
        last, before = earlier[-1], earlier[-1].acquisition
        unnamed = replace(now, series_uid=before.series_uid, series_number=before.series_number)
        if unnamed == before:
            return f"{series.name} begins: {last.name} again, with the same protocol"
        return f"{series.name} begins, with another protocol than {last.name}"


def _refusal(error: SourceError, run_id: str) -> Verdict:
    if isinstance(error, ForeignError):
        return Verdict("foreign", str(error), run_id)
    if isinstance(error, SkippedError):
        return Verdict("skipped", str(error), run_id, rule=error.rule)
    return Verdict("unfinished", str(error), run_id)
