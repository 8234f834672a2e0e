"""Which index answers for a catalogue, by the word that settings and command line use."""

from pathlib import Path

from realtime.errors import CatalogueError
from realtime.music.catalogue import Catalogue
from realtime.ports import MusicIndex


def open_index(catalogue: Catalogue, place: str, folder: Path) -> MusicIndex:
    """The index of a catalogue.

    Parameters
    ----------
    catalogue : Catalogue
        The clips.
    place : str
        "exact" (the catalogue itself), "faiss", or http(s)://HOST[:PORT] of a Qdrant server.
    folder : Path
        Where faiss keeps what it made: the catalogue's.

    Raises
    ------
    CatalogueError
        Another word, a package that is not installed, or an index that cannot be opened.
    """
    if place == "exact":
        return catalogue
    is_url = place.startswith(("http://", "https://"))
    if place != "faiss" and not is_url:
        raise CatalogueError(f"no index {place!r}; wanted exact, faiss, or http://HOST:6333 of a Qdrant server")
    try:
        if is_url:
            from realtime.music.index_qdrant import connect, open_qdrant  # noqa: PLC0415 - seconds to import

            return open_qdrant(catalogue, connect(place))
        from realtime.music.index_faiss import open_faiss  # noqa: PLC0415 - an extra

        return open_faiss(catalogue, folder)
    except ModuleNotFoundError as exc:
        raise CatalogueError(f"the index {place!r} needs a package that is not installed ({exc.name}); install it with "
                             "pip install 'innerear[ann]', or search exactly") from exc
