"""Fitted maps to bundles: ONNX out, read back, and proven equal before anybody hears of success."""

import shutil
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from onnx import TensorProto, checker, helper, numpy_helper

from offline_training.design import Frame
from offline_training.errors import FitError
from offline_training.linear_map import LinearMap
from offline_training.reference import brain_voxels, make_reference
from realtime.bundle import Bundle, Manifest, read_bundle, write_bundle
from realtime.decoding.onnx_decoder import OnnxDecoder
from realtime.errors import BundleError
from realtime.messages import EmbeddingSpace
from realtime.preprocessing import PreprocessorSettings
from realtime.reliability import Reliability
from scanner_bridge.volume import Volume

OPSET, IR_VERSION = 17, 9  # old enough for every onnxruntime the project allows
PARITY_BOUND = 1e-4
"""Largest |onnx − float64| allowed, in units of the largest float64 output: float32 sums of 6000 terms err by 1e-5."""

REHEARSAL_SCALE = 8.0


@dataclass(frozen=True, eq=False)
class Parity:
    """How far the exported decoder is from the fit.

    Attributes
    ----------
    largest_difference : float
        Over all rows and dimensions, in units of the largest output.
    """

    largest_difference: float


def onnx_graph(decoder: LinearMap) -> bytes:
    """(x − μ) / σ, then one matrix product: ONNX with float32 weights inside, (1, n_voxels) → (1, dim)."""
    n_voxels, dim = decoder.weights.shape
    constants = {"mu": decoder.mu, "sigma": decoder.sigma, "weights": decoder.weights, "intercept": decoder.intercept}
    nodes = [helper.make_node("Sub", ["features", "mu"], ["centred"]),
             helper.make_node("Div", ["centred", "sigma"], ["standardised"]),
             helper.make_node("Gemm", ["standardised", "weights", "intercept"], ["embedding"])]
    graph = helper.make_graph(
        nodes, "decoder", [helper.make_tensor_value_info("features", TensorProto.FLOAT, [1, n_voxels])],
        [helper.make_tensor_value_info("embedding", TensorProto.FLOAT, [1, dim])],
        [numpy_helper.from_array(np.ascontiguousarray(value, np.float32), name) for name, value in constants.items()])
    model = helper.make_model(graph, producer_name="innerear", ir_version=IR_VERSION,
                              opset_imports=[helper.make_opsetid("", OPSET)])
    checker.check_model(model, full_check=True)
    return bytes(model.SerializeToString())


def export_bundle(folder: Path, manifest: Manifest, frame: Frame, feature_scale: NDArray[np.float32],
                  reliability: Reliability, decoder: LinearMap,
                  rows: NDArray[np.floating]) -> tuple[Bundle, Parity]:
    """Write a bundle, read it back as the live program does, and compare it with the fit.

    Parameters
    ----------
    folder : Path
        Where; what is there is replaced only when everything is proven.
    manifest : Manifest
    frame : Frame
        Its voxels are the decoder's, in the order of `decoder.mu`.
    feature_scale : float32 array of shape (n_voxels,)
    reliability : Reliability
    decoder : LinearMap
    rows : float array of shape (n, n_voxels)
        Features to compare on, at least one, finite; held-out ones where there are any.

    Returns
    -------
    bundle : Bundle
        As read back.
    parity : Parity

    Raises
    ------
    FitError
        The exported decoder is not the fitted one; no bundle is left.
    """
    scratch = folder.with_name(folder.name + ".part")
    shutil.rmtree(scratch, ignore_errors=True)
    bundle = Bundle(manifest, np.asarray(frame.reference, np.float32), np.asarray(frame.affine, np.float64),
                    np.asarray(frame.voxels, np.int32), np.asarray(feature_scale, np.float32),
                    reliability.mean, reliability.evidence_map, reliability.clip_map, reliability.tail,
                    onnx_graph(decoder), tissues=frame.tissues)
    try:
        write_bundle(scratch, bundle)
        parity = check_parity(read_bundle(scratch), decoder, rows)
    except (BundleError, FitError) as exc:
        shutil.rmtree(scratch, ignore_errors=True)
        raise FitError(f"the exported decoder of {manifest.name!r} is not the fitted one: {exc}; no bundle was "
                       "written") from exc
    shutil.rmtree(folder, ignore_errors=True)
    scratch.replace(folder)
    return read_bundle(folder), parity


def check_parity(bundle: Bundle, decoder: LinearMap, rows: NDArray[np.floating]) -> Parity:
    """Compare the bundle's decoder with the float64 map on `rows` (n, n_voxels).

    Raises
    ------
    FitError
        No rows, or they differ by more than `PARITY_BOUND`.
    """
    if not len(rows):
        raise FitError("there is no row of features to compare the exported decoder on; give at least one")
    live = OnnxDecoder(bundle)
    got = np.stack([live.decode(np.asarray(row, np.float32)) for row in rows])
    wanted = decoder.apply(np.asarray(rows, np.float32))
    difference = float(np.abs(got - wanted).max() / max(np.abs(wanted).max(), 1e-30))
    if not difference <= PARITY_BOUND:
        raise FitError(f"onnxruntime and the fit differ by {difference:.2g} of the largest output on {len(rows)} "
                       f"rows, at most {PARITY_BOUND:g} is allowed; look for voxels of almost no variance")
    return Parity(difference)


def untrained_bundle(folder: Path, volumes: Iterable[Volume], space: EmbeddingSpace, *, name: str = "untrained",
                     preprocessing: PreprocessorSettings | None = None, lag_s: float = 4.5,
                     window_volumes: int = 10, n_voxels: int = 1500, seed: int = 0,
                     embedding_mean: Sequence[float] | None = None, made_by: str = "") -> Bundle:
    """A bundle with random weights, to rehearse with a scanner's own images. Its decoding is noise.

    The posterior is scaled so that the selection does switch between clips: a rehearsal should sound.

    Parameters
    ----------
    folder : Path
        Where.
    volumes : iterable of Volume
        One recorded run of the protocol to rehearse; read once.
    space : EmbeddingSpace
        Of the catalogue to rehearse with.
    preprocessing : PreprocessorSettings, optional
        Defaults for the run's repetition time.
    lag_s : float
        Haemodynamic lag; rounded to volumes.
    window_volumes, n_voxels, seed
        Window of a trial, brightest brain voxels to read, and the seed of the weights.
    embedding_mean : sequence of float, optional
        Of the catalogue; zeros when left out.

    Raises
    ------
    DatasetError
        No volumes, or no head in them.
    """
    run = list(volumes)
    if preprocessing is None:
        preprocessing = PreprocessorSettings(tr_s=run[0].tr_s if run else 1.5)
    reference = make_reference(run, preprocessing)
    affine = np.asarray(run[len(run) // 2].affine, np.float64)
    brain = brain_voxels(reference)
    brightest = np.argsort(-reference[tuple(brain.T)], kind="stable")[:n_voxels]
    voxels = brain[np.sort(brightest)]
    n, rng = len(voxels), np.random.default_rng(seed)
    mean = np.zeros(space.dim, np.float32) if embedding_mean is None else np.asarray(embedding_mean, np.float32)
    decoder = LinearMap(np.arange(n), np.zeros(n), np.ones(n), rng.normal(size=(n, space.dim)) / np.sqrt(n),
                        mean.astype(np.float64))
    manifest = Manifest(
        name=name, subject="", space=space, preprocessing=preprocessing,
        lag_volumes=round(lag_s / preprocessing.tr_s), window_volumes=window_volumes,
        accuracy={"untrained": True, "note": "random weights: what this bundle decodes is noise"}, made_by=made_by)
    bundle, _ = export_bundle(folder, manifest, Frame(reference, affine, voxels, preprocessing),
                              np.full(n, 0.01, np.float32), _pretended(mean, window_volumes), decoder,
                              rng.normal(size=(8, n)))
    return bundle


def _pretended(mean: NDArray[np.float32], window_volumes: int) -> Reliability:
    """Of random weights: sure enough that the selection does switch, by every direction of the embedding alike."""
    maps = np.tile(np.sqrt(REHEARSAL_SCALE / len(mean)) * np.eye(len(mean), dtype=np.float32), (window_volumes, 1, 1))
    return Reliability(mean, maps.astype(np.float32), maps.astype(np.float32), np.zeros(len(maps), np.float32))
