"""What can be said about a source of volumes."""

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

from scanner_bridge.errors import SourceError
from scanner_bridge.sources.address import Address, parse_address
from scanner_bridge.sources.folder_watch import Watching
from scanner_bridge.sources.store_settings import StoreSettings

Kind = Literal["auto", "replay", "simulated", "dicom_folder", "afni", "pyneal", "vsend", "cstore"]
NETWORK_KINDS = ("afni", "pyneal", "vsend", "cstore")
"""Sources to which a peer connects: they are live, and handed over as they come."""


@dataclass(frozen=True)
class SourceSettings:
    """One source. What does not belong to its kind is left alone.

    Attributes
    ----------
    kind : {"auto", "replay", "simulated", "dicom_folder", "afni", "pyneal", "vsend", "cstore"}
        auto: found out from `path`.
    path : Path or None
        File (replay) or folder (dicom_folder).
    follow_s : float
        dicom_folder: after this long without a new file the run is over; 0 reads only what is there.
        Network: after this long without a volume it is over; 0 waits for ever.
    wait_s : float
        dicom_folder, followed, and network: how long to wait for the run's first file or volume.
    poll_s : float
        dicom_folder: how often the folder is listed while it is followed and tells nothing of its changes.
    watching : {"auto", "events", "poll"}
        dicom_folder: whether the system is to tell of changes. auto: on a local disk; shared folders cannot.
    series : int or None
        dicom_folder, cstore: SeriesNumber to read; None takes the only one, or the first to appear.
    only_new : bool
        dicom_folder: leave alone the files that are there at the start.
    n_volumes : int
        simulated: length of the run.
    shape : tuple of int
        simulated: (nx, ny, nz).
    voxel_mm : tuple of float
        simulated: size of a voxel.
    tr_s : float
        simulated: repetition time.
    seed : int
        simulated: the same seed gives the same voxels.
    lost_volumes : tuple of int
        simulated: indices that never come, as when a scanner loses them.
    listen : str
        network: ``HOST:PORT`` to listen at; loopback and the protocol's own port where one is not given.
    expect : int or None
        network: the run is over with this many volumes, for protocols that do not say how many there are.

    store : StoreSettings or None
        cstore: titles and encryption; needed there.

    Raises
    ------
    SourceError
        A value that cannot be; all of them are named at once.
    """

    kind: Kind = "auto"
    path: Path | None = None
    follow_s: float = 0.0
    wait_s: float = 600.0
    poll_s: float = 0.05
    watching: Watching = "auto"
    series: int | None = None
    only_new: bool = False
    n_volumes: int = 30
    shape: tuple[int, int, int] = (32, 32, 18)
    voxel_mm: tuple[float, float, float] = (3.0, 3.0, 3.5)
    tr_s: float = 1.0
    seed: int = 0
    lost_volumes: tuple[int, ...] = ()
    listen: str = ""
    expect: int | None = None
    store: StoreSettings | None = None

    def __post_init__(self) -> None:
        """Refuse what cannot be."""
        rules = {
            f"kind is one of {', '.join(get_args(Kind))}, got {self.kind!r}": self.kind in get_args(Kind),
            f"a source of kind {self.kind!r} needs a path": self.kind in ("simulated", *NETWORK_KINDS)
            or self.path is not None,
            f"follow_s is 0 or more, got {self.follow_s}": 0 <= self.follow_s < math.inf,
            f"wait_s is 0 or more, got {self.wait_s}": 0 <= self.wait_s < math.inf,
            f"watching is one of {', '.join(get_args(Watching))}, got {self.watching!r}": self.watching
            in get_args(Watching),
            f"poll_s is between 0.001 and 10, got {self.poll_s}": 0.001 <= self.poll_s <= 10,
            f"n_volumes is between 1 and 32767, got {self.n_volumes}": 1 <= self.n_volumes <= 32767,
            f"shape has three extents of 4 to 512, got {self.shape}": len(self.shape) == 3
            and all(4 <= extent <= 512 for extent in self.shape),
            f"voxel_mm has three positive sizes, got {self.voxel_mm}": len(self.voxel_mm) == 3
            and all(0 < size < math.inf for size in self.voxel_mm),
            f"tr_s is positive, got {self.tr_s}": 0 < self.tr_s < math.inf,
            f"seed is 0 or more, got {self.seed}": self.seed >= 0,
            "a cstore source needs its own title (--ae-title) and those who may send (--allow)": self.kind != "cstore"
            or self.store is not None,
            f"expect is 1 or more, got {self.expect}": self.expect is None or self.expect >= 1,
        }
        broken = [rule for rule, holds in rules.items() if not holds]
        if broken:
            raise SourceError(f"source settings: {'; '.join(broken)}: correct them")

    def address(self, default_port: int) -> Address:
        """Where a network source listens; SourceError when `listen` is no address."""
        return parse_address(self.listen, default_port)


def settings_for(source: str, **options: Any) -> SourceSettings:
    """Settings of a source that is named as on the command line.

    Parameters
    ----------
    source : str
        A path, the word ``simulated``, or a network kind, alone or as ``KIND://HOST:PORT``.
    options : Any
        Further fields of `SourceSettings`.

    Raises
    ------
    SourceError
        A value that cannot be.
    """
    kind, _, listen = source.partition("://")
    if kind in NETWORK_KINDS and source in (kind, f"{kind}://{listen}"):
        return SourceSettings(kind=kind, listen=listen, **options)  # type: ignore[arg-type]  # one of `Kind`
    if source == "simulated":
        return SourceSettings(kind="simulated", **options)
    return SourceSettings(path=Path(source), **options)
