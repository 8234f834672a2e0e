"""The model bundle: what training hands to the live program, read and written in one place.

A bundle is a folder::

    manifest.json     everything below in words and numbers, with a sha256 for every other file
    decoder.onnx      features (1, n_voxels) float32 -> embedding (1, dim) float32; μ and σ inside
    arrays.npz        reference, affine, voxels, feature_scale, embedding_mean, evidence_map, clip_map, tail,
                      and tissues where the preprocessing asks for their means; no pickled objects
"""

import hashlib
import json
from dataclasses import asdict, dataclass, field
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from realtime.atomic import write_json
from realtime.errors import BundleError, SpaceMismatchError, VolumeError
from realtime.messages import EmbeddingSpace
from realtime.preprocessing import Preprocessor, PreprocessorSettings, checked_tissues
from realtime.reliability import Reliability
from scanner_bridge.volume import RunHeader

FORMAT_VERSION = 3
_FILES = ("decoder.onnx", "arrays.npz")
_ARRAYS = ("reference", "affine", "voxels", "feature_scale", "embedding_mean", "evidence_map", "clip_map", "tail")


@dataclass(frozen=True)
class Manifest:
    """A bundle in words and numbers.

    Attributes
    ----------
    name : str
        For people; the folder's name.
    subject : str
        Pseudonym of the person it was trained on.
    space : EmbeddingSpace
        What the decoder predicts in.
    preprocessing : PreprocessorSettings
        What training used and the live program must use.
    lag_volumes : int
        Volumes after a trial's onset that still belong to what came before.
    window_volumes : int
        Volumes of a trial that carry its evidence, from `lag_volumes` on.
    accuracy : dict
        Figures of the evaluation that was run at export.
    made_by : str
        The command that made it.
    """

    name: str
    subject: str
    space: EmbeddingSpace
    preprocessing: PreprocessorSettings
    lag_volumes: int
    window_volumes: int
    accuracy: dict[str, Any] = field(default_factory=dict)
    made_by: str = ""


@dataclass(frozen=True, eq=False)
class Bundle:
    """A bundle in memory.

    Attributes
    ----------
    manifest : Manifest
        Words and numbers.
    reference : float32 array of shape (nx, ny, nz)
        The training reference all volumes are aligned to; scanner units, no NaN.
    affine : float64 array of shape (4, 4)
        Voxel to mm of the reference.
    voxels : int32 array of shape (n_voxels, 3)
        The decoder's voxels, indices into the reference.
    feature_scale : float32 array of shape (n_voxels,)
        Standard deviation of each voxel in the training runs, fraction of its mean: seeds the
        running variance.
    embedding_mean : float32 array of shape (dim,)
        Mean target of training: what the decoder predicts when it sees nothing.
    evidence_map, clip_map : float32 arrays of shape (window_volumes, k, dim)
        See `Reliability`; fitted on cross-validated predictions of the training runs.
    tail : float32 array of shape (window_volumes,)
        As well.
    onnx : bytes
        The decoder.
    sha256 : str
        Of manifest.json as read; "" for a bundle not yet written.
    tissues : uint8 array of shape (nx, ny, nz) or None
        0, 1 white matter, 2 cerebrospinal fluid, in the reference's space; None where the
        preprocessing does not ask for their means.
    """

    manifest: Manifest
    reference: NDArray[np.float32]
    affine: NDArray[np.float64]
    voxels: NDArray[np.int32]
    feature_scale: NDArray[np.float32]
    embedding_mean: NDArray[np.float32]
    evidence_map: NDArray[np.float32]
    clip_map: NDArray[np.float32]
    tail: NDArray[np.float32]
    onnx: bytes
    sha256: str = ""
    tissues: NDArray[np.uint8] | None = None

    @property
    def reliability(self) -> Reliability:
        """How far what it decodes can be trusted."""
        return Reliability(self.embedding_mean, self.evidence_map, self.clip_map, self.tail)

    def preprocessor(self) -> Preprocessor:
        """A preprocessor at the start of a run, as this bundle was trained with."""
        return Preprocessor(self.reference, self.affine, self.voxels, self.manifest.preprocessing, self.feature_scale,
                            self.tissues)


def write_bundle(folder: Path, bundle: Bundle) -> None:
    """Write `bundle` into `folder`; the manifest comes last and atomically, so a torn bundle has none."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "manifest.json").unlink(missing_ok=True)
    buffer = BytesIO()
    names = _ARRAYS if bundle.tissues is None else (*_ARRAYS, "tissues")
    np.savez(buffer, **{name: getattr(bundle, name) for name in names})
    payloads = {"decoder.onnx": bundle.onnx, "arrays.npz": buffer.getvalue()}
    for name, payload in payloads.items():
        (folder / name).write_bytes(payload)
    document = {
        "format_version": FORMAT_VERSION,
        **asdict(bundle.manifest),
        "files": {name: hashlib.sha256(payload).hexdigest() for name, payload in payloads.items()},
    }
    write_json(folder / "manifest.json", document)


def read_bundle(folder: Path) -> Bundle:
    """Read and check a bundle.

    Raises
    ------
    BundleError
        No bundle there, a file missing or changed, or an array of the wrong shape or with NaN.
    """
    manifest_path = folder / "manifest.json"
    try:
        raw = manifest_path.read_bytes()
    except OSError as exc:
        raise BundleError(f"no bundle in {folder}: {manifest_path} cannot be read ({exc.strerror}); "
                          "make one with: innerear train") from exc
    document = _parse(raw, manifest_path)
    payloads = {name: _checked_file(folder, name, document["files"]) for name in _FILES}
    manifest = _manifest(document, manifest_path)
    with np.load(BytesIO(payloads["arrays.npz"]), allow_pickle=False) as arrays:
        missing = [name for name in _ARRAYS if name not in arrays]
        if missing:
            raise BundleError(f"{folder / 'arrays.npz'} lacks {', '.join(missing)}; export the bundle again")
        bundle = Bundle(manifest, **{name: arrays[name] for name in _ARRAYS}, onnx=payloads["decoder.onnx"],
                        sha256=hashlib.sha256(raw).hexdigest(), tissues=arrays.get("tissues"))
    problems = _array_problems(bundle)
    if problems:
        raise BundleError(f"bundle {folder} is inconsistent: {'; '.join(problems)}; export it again")
    return bundle


def _parse(raw: bytes, path: Path) -> dict[str, Any]:
    try:
        document: dict[str, Any] = json.loads(raw)
    except ValueError as exc:
        raise BundleError(f"{path} is not JSON ({exc}); export the bundle again") from exc
    if document.get("format_version") != FORMAT_VERSION:
        raise BundleError(f"{path} has format version {document.get('format_version')!r}, this program reads "
                          f"{FORMAT_VERSION}; export the bundle again with this version")
    if not isinstance(document.get("files"), dict):
        raise BundleError(f"{path} names no files; export the bundle again")
    return document


def _checked_file(folder: Path, name: str, wanted: dict[str, str]) -> bytes:
    try:
        payload = (folder / name).read_bytes()
    except OSError as exc:
        raise BundleError(f"bundle {folder} lacks {name} ({exc.strerror}); export it again") from exc
    got = hashlib.sha256(payload).hexdigest()
    if got != wanted.get(name):
        raise BundleError(f"{folder / name} has changed since the export: sha256 {got[:12]}, the manifest says "
                          f"{str(wanted.get(name))[:12]}; export the bundle again")
    return payload


def _manifest(document: dict[str, Any], path: Path) -> Manifest:
    names = set(Manifest.__dataclass_fields__)
    try:
        values = {name: document[name] for name in names}
        values["space"] = EmbeddingSpace(**values["space"])
        values["preprocessing"] = PreprocessorSettings(**values["preprocessing"])
    except (KeyError, TypeError, ValueError) as exc:
        raise BundleError(f"{path} does not describe a bundle ({exc}); export it again") from exc
    return Manifest(**values)


def _array_problems(bundle: Bundle) -> list[str]:
    n, dim = len(bundle.voxels), bundle.manifest.space.dim
    wanted = {"affine": (4, 4), "voxels": (n, 3), "feature_scale": (n,), "embedding_mean": (dim,),
              "tail": (bundle.manifest.window_volumes,)}
    problems = [f"{name} has shape {getattr(bundle, name).shape}, wanted {shape}"
                for name, shape in wanted.items() if getattr(bundle, name).shape != shape]
    problems += [f"{name} holds NaN or infinity" for name in _ARRAYS if not np.isfinite(getattr(bundle, name)).all()]
    if (bundle.tail < 0).any():
        problems.append(f"tail is {bundle.tail.min():g} somewhere, wanted at least 0")
    if bundle.reference.ndim != 3:
        problems.append(f"reference has {bundle.reference.ndim} dimensions, wanted 3")
    elif n == 0 or bundle.voxels.min() < 0 or (bundle.voxels >= bundle.reference.shape).any():
        problems.append(f"voxels lie outside the reference of shape {bundle.reference.shape}")
    if bundle.manifest.preprocessing.nuisance_tissues:
        try:
            checked_tissues(bundle.tissues, bundle.reference.shape)
        except VolumeError as exc:
            problems.append(str(exc))
    window, maps = bundle.manifest.window_volumes, (bundle.evidence_map.shape, bundle.clip_map.shape)
    if maps[0] != maps[1] or len(maps[0]) != 3 or (maps[0][0], maps[0][2]) != (window, dim):
        problems.append(f"evidence_map and clip_map have shapes {maps[0]} and {maps[1]}, wanted ({window}, k, {dim}) "
                        "both, one map per volume of the window")
    return problems


def check_space(bundle: Bundle, space: EmbeddingSpace, holder: str) -> None:
    """Refuse to compare vectors of different embedding spaces.

    Parameters
    ----------
    bundle : Bundle
        What predicts.
    space : EmbeddingSpace
        What its predictions are to be compared in.
    holder : str
        Whose space that is, for the message.

    Raises
    ------
    SpaceMismatchError
        Name, dimension or sha256 differ.
    """
    if bundle.manifest.space != space:
        raise SpaceMismatchError(
            f"bundle {bundle.manifest.name!r} predicts space {bundle.manifest.space}, {holder} holds space {space}; "
            "index the catalogue in the bundle's space (innerear corpus index), or train the bundle in this one")


def check_fits(bundle: Bundle, header: RunHeader) -> None:
    """Refuse a run this bundle was not made for; every mismatch is named at once.

    The grid (shape and voxel size) and the repetition time must agree, and the slice times where
    both know them. Where the head lies in the grid may differ: alignment finds that.

    Raises
    ------
    BundleError
        The run has another shape, voxel size, repetition time or other slice times.
    """
    problems = []
    if tuple(header.shape) != bundle.reference.shape:
        problems.append(f"the run's volumes are {header.shape}, the bundle wants {bundle.reference.shape}")
    got, wanted = (np.linalg.norm(affine[:3, :3], axis=0) for affine in (header.affine, bundle.affine))
    if not np.allclose(got, wanted, atol=0.01):
        problems.append(f"the run's voxels are {np.round(got, 3).tolist()} mm, the bundle wants "
                        f"{np.round(wanted, 3).tolist()} mm")
    tr_s = bundle.manifest.preprocessing.tr_s
    if abs(header.tr_s - tr_s) > 0.01 * tr_s:
        problems.append(f"the run's TR is {header.tr_s:g} s, the bundle wants {tr_s:g} s")
    stated, times_s = header.slice_times_s, bundle.manifest.preprocessing.slice_times_s
    if stated is not None and times_s and not (len(stated) == len(times_s) and np.allclose(stated, times_s, atol=2e-3)):
        problems.append("the run's slices are acquired at other times than the bundle's")
    if problems:
        raise BundleError(f"bundle {bundle.manifest.name!r} does not fit this run: {'; '.join(problems)}; use the "
                          "protocol the bundle was trained with, or train a bundle for this one")
