"""What else registers and reslices a volume, each behind the same small interface; none of them is needed."""

from collections.abc import Callable
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tests.benchmarks.motion_series import MovingHead

Array = NDArray[np.float64]
Volume = NDArray[np.int16]
Work = Callable[[Volume], Array]


@dataclass(frozen=True)
class Peer:
    """A library: the key in the report, the module that must be importable, and what makes its work."""

    name: str
    module: str
    prepare: Callable[[MovingHead, Volume], Work]

    @property
    def installed(self) -> bool:
        return find_spec(self.module) is not None


def rtspm(head: MovingHead, reference: Volume) -> Work:
    """SPM's realign and reslice as OpenNFT runs them."""
    return registered_by_rtspm(head.affine, reference, then_reslice=True)


def registered_by_rtspm(affine: Array, reference: Volume, then_reslice: bool = False) -> Work:
    """SPM's realign: smoothing 5 mm, points 4 mm apart, splines of degree 4, from the last volume's motion."""
    from rtspm import spm_realign_rt, spm_reslice_rt

    from_one = np.eye(4)
    from_one[:3, 3] = -1.0
    matrix = affine @ from_one
    flags = {"quality": 0.9, "fwhm": 5, "sep": 4, "interp": 4, "wrap": np.zeros((3, 1)), "rtm": 0, "PW": "",
             "lkp": np.arange(6), "mask": 1, "mean": 0, "which": 2}

    def image(volume: Volume) -> dict[str, Any]:
        return {"mat": matrix.copy(), "dim": np.array(volume.shape), "Vol": np.array(volume, float, order="F")}

    images = [image(reference), image(reference)]
    images, *kept, _ = spm_realign_rt(images, flags, 0, 0, [], [], [], [], [], [])
    images[0]["mat"], images[1]["mat"] = matrix.copy(), matrix.copy()

    def work(volume: Volume) -> Array:
        nonlocal images, kept
        images[1]["Vol"] = np.array(volume, float, order="F")
        images, *kept, _ = spm_realign_rt(images, flags, 1, 0, *kept)
        if then_reslice:
            spm_reslice_rt(images, flags)
        return np.asarray(matrix @ np.linalg.inv(images[1]["mat"]))

    return work


def simpleitk(head: MovingHead, reference: Volume) -> Work:
    """Mean squares at a tenth of the voxels from the last volume's motion, gradient descent; cubic B-spline reslice."""
    import SimpleITK as sitk

    sitk.ProcessObject.SetGlobalDefaultNumberOfThreads(1)
    sizes = np.linalg.norm(head.affine[:3, :3], axis=0)

    def image(volume: Volume) -> Any:
        out = sitk.GetImageFromArray(np.ascontiguousarray(volume.T, np.float32))
        out.SetSpacing(sizes.tolist())
        out.SetOrigin(head.affine[:3, 3].tolist())
        out.SetDirection((head.affine[:3, :3] / sizes).ravel().tolist())
        return out

    fixed = image(reference)
    transform = sitk.Euler3DTransform()
    transform.SetCenter(head.centre_mm.tolist())

    def work(volume: Volume) -> Array:
        nonlocal transform
        moving = image(volume)
        method = sitk.ImageRegistrationMethod()
        method.SetMetricAsMeanSquares()
        method.SetMetricSamplingStrategy(method.RANDOM)
        method.SetMetricSamplingPercentage(0.1, 1)
        method.SetInterpolator(sitk.sitkLinear)
        method.SetOptimizerAsRegularStepGradientDescent(0.5, 1e-3, 60)
        method.SetOptimizerScalesFromPhysicalShift()
        method.SetInitialTransform(transform, inPlace=True)
        method.Execute(fixed, moving)
        sitk.GetArrayFromImage(sitk.Resample(moving, fixed, transform, sitk.sitkBSpline))
        return _matrix(lambda point: transform.TransformPoint(point.tolist()))

    return work


def elastix(head: MovingHead, reference: Volume) -> Work:
    """Rigid, one level, 100 iterations, 2,000 samples; its result image is the reslice."""
    import itk

    itk.MultiThreaderBase.SetGlobalDefaultNumberOfThreads(1)
    sizes = np.linalg.norm(head.affine[:3, :3], axis=0)
    parameters = itk.ParameterObject.New()
    rigid = parameters.GetDefaultParameterMap("rigid", 1)
    rigid["MaximumNumberOfIterations"], rigid["NumberOfSpatialSamples"] = ["100"], ["2000"]
    rigid["Metric"], rigid["AutomaticTransformInitialization"] = ["AdvancedMeanSquares"], ["false"]
    parameters.AddParameterMap(rigid)

    def image(volume: Volume) -> Any:
        out = itk.image_from_array(np.ascontiguousarray(volume.T, np.float32))
        out.SetSpacing(sizes.tolist())
        out.SetOrigin(head.affine[:3, 3].tolist())
        out.SetDirection(itk.matrix_from_array(np.ascontiguousarray(head.affine[:3, :3] / sizes)))
        return out

    fixed = image(reference)

    def work(volume: Volume) -> Array:
        method = itk.ElastixRegistrationMethod.New(fixed, image(volume))
        method.SetParameterObject(parameters)
        method.SetLogToConsole(False)
        method.SetNumberOfThreads(1)
        method.UpdateLargestPossibleRegion()
        itk.array_from_image(method.GetOutput())
        found = method.GetTransformParameterObject().GetParameterMap(0)
        transform = itk.Euler3DTransform.New()
        transform.SetCenter([float(value) for value in found["CenterOfRotationPoint"]])
        values = [float(value) for value in found["TransformParameters"]]
        transform.SetRotation(*values[:3])
        transform.SetTranslation(values[3:])
        return _matrix(lambda point: tuple(transform.TransformPoint(point.tolist())))

    return work


def dipy(head: MovingHead, reference: Volume) -> Work:
    """Mutual information, two levels, from the last volume's motion; linear reslice."""
    from dipy.align.imaffine import AffineRegistration, MutualInformationMetric
    from dipy.align.transforms import RigidTransform3D

    start = np.eye(4)
    registration = AffineRegistration(metric=MutualInformationMetric(nbins=32, sampling_proportion=None),
                                      level_iters=[20, 20], sigmas=[1.0, 0.0], factors=[2, 1], verbosity=0)

    def work(volume: Volume) -> Array:
        nonlocal start
        found = registration.optimize(reference.astype(float), volume.astype(float), RigidTransform3D(), None,
                                      static_grid2world=head.affine, moving_grid2world=head.affine,
                                      starting_affine=start)
        start = found.affine
        found.transform(volume.astype(float))
        return np.asarray(found.affine)

    return work


def _matrix(transform_point: Callable[[Array], Any]) -> Array:
    """Matrix (4, 4) of an affine transform that is known by what it does to points."""
    matrix = np.eye(4)
    origin = np.asarray(transform_point(np.zeros(3)))
    matrix[:3, 3] = origin
    for axis in range(3):
        matrix[:3, axis] = np.asarray(transform_point(np.eye(3)[axis])) - origin
    return matrix


PEERS = (
    Peer("python-rtspm", "rtspm", rtspm),
    Peer("SimpleITK", "SimpleITK", simpleitk),
    Peer("itk-elastix", "itk", elastix),
    Peer("dipy", "dipy", dipy),
)
