"""Compiled kernels against their naive twins and SciPy."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.ndimage import gaussian_filter, map_coordinates, spline_filter

from realtime.preprocessing import kernels
from realtime.preprocessing.alignment_kernels import histogram_median, robust_sums, sum_of_outer_products
from realtime.preprocessing.filter_kernels import spline_prefilter
from realtime.preprocessing.filters import smoothing_filter
from realtime.preprocessing.interpolation_kernels import (
    sample_sinc,
    sample_splines,
    spline_gradients,
    spline_value,
)
from realtime.preprocessing.kernels import centre_of_mass, digest_of_kernels, mean_intensity, mirror, repair
from realtime.preprocessing.rigid import inverse_affine
from realtime.preprocessing.rigid_kernels import cayley, gauss_newton_step, multiply, solve_positive
from tests import naive

SHAPE = (7, 9, 11)


@pytest.fixture
def volume():
    return np.random.default_rng(0).normal(500.0, 100.0, SHAPE).astype(np.float32)


@settings(deadline=None)
@given(st.integers(-200, 200), st.integers(1, 30))
def test_mirror_walks_back_and_forth(index, n):
    assert mirror(index, n) == naive.mirror(index, n)


@pytest.mark.parametrize("shape", [SHAPE, (4, 4, 4), (1, 5, 6), (3, 2, 40)])
def test_prefilter_equals_the_interpolation_equations_and_scipy(shape):
    volume = np.random.default_rng(1).normal(500.0, 100.0, shape).astype(np.float32)
    got = volume.copy()
    spline_prefilter(got)
    # float32 recursion: a few units in the last place of values near 1000
    np.testing.assert_allclose(got, naive.spline_coefficients(volume), atol=3e-3)
    np.testing.assert_allclose(got, spline_filter(volume.astype(np.float64), 3, mode="mirror"), atol=3e-3)


@pytest.mark.parametrize("n_slices", [1, 7, 40], ids=["one", "fewer than the ring", "several times round the ring"])
@pytest.mark.parametrize(("fwhm_mm", "tolerance"), [(0.0, 1e-4), (5.0, 1e-4), (5.0, 5e-3), (15.0, 1e-4)])
def test_smoothing_filter_equals_its_taps_applied_one_axis_after_the_other(fwhm_mm, tolerance, n_slices):
    volume = np.random.default_rng(0).normal(500.0, 100.0, (n_slices, 9, 11)).astype(np.float32)
    smoothing = smoothing_filter((3.0, 3.0, 3.5), fwhm_mm, tolerance)
    wanted = volume.astype(np.float64)
    for taps, axis in ((smoothing.taps_x, 2), (smoothing.taps_y, 1), (smoothing.taps_z, 0)):
        wanted = naive.filter_axis(wanted, taps, axis)
    np.testing.assert_allclose(smoothing.apply(volume), wanted, rtol=1e-5, atol=3e-3)


def test_smoothing_filter_gives_the_coefficients_of_scipys_gaussian(volume):
    got = smoothing_filter((3.0, 3.0, 3.5), 5.0, 1e-4).apply(volume)
    sigmas = 5.0 / np.sqrt(8.0 * np.log(2.0)) / np.array([3.5, 3.0, 3.0])
    smooth = gaussian_filter(volume.astype(np.float64), sigmas, mode="mirror", truncate=6.0)
    # taps are cut at 1e-4 of the centre: an error of 1e-3 of the texture's SD of 100
    np.testing.assert_allclose(got, spline_filter(smooth, 3, mode="mirror"), atol=0.2)


@settings(deadline=None, max_examples=60)
@given(st.tuples(*[st.floats(-3.0, n + 2.0) for n in SHAPE[::-1]]))
def test_interpolation_equals_the_naive_sum_and_scipy_inside_and_outside(place):
    coefficients = np.random.default_rng(2).normal(500.0, 100.0, SHAPE).astype(np.float32)
    got = spline_value(coefficients, *place)
    # float32 sums of 64 terms near 500
    assert got == pytest.approx(naive.spline_value(coefficients.astype(float), *place), rel=2e-6)
    inside = all(0.0 <= x <= n - 1 for x, n in zip(place, SHAPE[::-1], strict=True))
    if inside:
        wanted = map_coordinates(coefficients.astype(float), np.array(place[::-1])[:, None], order=3, mode="mirror",
                                 prefilter=False)
        assert got == pytest.approx(float(wanted[0]), rel=2e-6)


@settings(deadline=None, max_examples=60)
@given(st.tuples(*[st.floats(-3.0, n + 2.0) for n in (14, 9, 13)]))
def test_sinc_interpolation_equals_the_naive_sum_inside_and_outside(place):
    volume = np.random.default_rng(2).normal(500.0, 100.0, (13, 9, 14)).astype(np.float32)
    # weights are polynomials within 3e-6 of the kernel, sums float32
    wanted = naive.sinc_value(volume.astype(float), *place)
    assert sinc_values(volume, [place])[0] == pytest.approx(wanted, abs=0.02)


def test_a_point_is_read_alike_alone_and_among_others_of_its_block():
    volume = np.random.default_rng(2).normal(500.0, 100.0, (13, 9, 14)).astype(np.float32)
    voxels = np.random.default_rng(3).integers(-2, 14, (150, 3)).astype(np.int32)  # two blocks and a part
    transform = np.hstack([np.eye(3), [[0.3], [-0.4], [0.1]]])
    together, alone = np.empty((2, 150), np.float32)
    sample_sinc(volume, transform, voxels, together)
    for i in range(150):
        sample_sinc(volume, transform, voxels[i : i + 1], alone[i : i + 1])
    np.testing.assert_array_equal(together, alone)


def sinc_values(volume, places):
    """The windowed sinc at places (x, y, z), one call each."""
    values, origin = np.empty(len(places), np.float32), np.zeros((1, 3), np.int32)
    for i, place in enumerate(places):
        sample_sinc(volume, np.hstack([np.eye(3), np.reshape(place, (3, 1))]), origin, values[i : i + 1])
    return values


def test_sinc_interpolation_on_a_voxel_is_that_voxel(volume):
    voxels, got = np.argwhere(np.ones(SHAPE[::-1])).astype(np.int32), np.empty(volume.size, np.float32)
    sample_sinc(volume, np.eye(4)[:3], voxels, got)
    np.testing.assert_array_equal(got, volume.T.ravel())


def test_sinc_interpolation_errs_less_on_moved_detail_than_a_cubic_spline():
    place = np.random.default_rng(8).uniform(8.0, 31.0, (500, 3))
    cycles = np.random.default_rng(9).normal(0.0, 0.12, (40, 3))  # per voxel: a quarter of the detail above 0.2
    phases = np.random.default_rng(10).uniform(0.0, 6.28, 40)

    def detail(x, y, z):
        return sum(np.cos(2 * np.pi * (a * x + b * y + c * z) + phase)
                   for (a, b, c), phase in zip(cycles, phases, strict=True))

    grid = detail(*np.meshgrid(*(np.arange(40.0),) * 3, indexing="ij")[::-1]).astype(np.float32)
    coefficients = grid.copy()
    spline_prefilter(coefficients)
    true = detail(*place.T)
    errors = [np.std(values - true)
              for values in (sinc_values(grid, place), np.array([spline_value(coefficients, *p) for p in place]))]
    assert errors[0] < errors[1] < 0.1 * true.std()


def test_gradients_are_the_slopes_of_the_interpolation(volume):
    places = np.random.default_rng(3).uniform(0.0, 6.0, (40, 3))
    values, gradients = np.empty(40), np.empty((40, 3))
    spline_gradients(volume, places, values, gradients)
    for place, value, gradient in zip(places, values, gradients, strict=True):
        assert value == pytest.approx(naive.spline_value(volume, *place), rel=1e-6)
        np.testing.assert_allclose(gradient, naive.spline_gradient(volume, *place), atol=5e-4)


def test_sampling_equals_scipy_at_transformed_voxels(volume):
    random = np.random.default_rng(4)
    voxels = np.argwhere(np.ones(SHAPE[::-1]))[random.permutation(volume.size)[:200]].astype(np.int32)
    transform = np.hstack([np.eye(3) + random.normal(0.0, 0.02, (3, 3)), random.normal(0.0, 0.4, (3, 1))])
    coefficients, got = volume.copy(), np.empty(200, np.float32)
    spline_prefilter(coefficients)
    sample_splines(coefficients, transform, voxels, got)
    places = voxels @ transform[:, :3].T + transform[:, 3]
    wanted = map_coordinates(volume.astype(np.float64), places.T[::-1], order=3, mode="mirror")
    np.testing.assert_allclose(got, wanted, atol=3e-3)


def test_product_solution_and_inverse_equal_numpy():
    random = np.random.default_rng(5)
    left, right = random.normal(size=(7, 7)), random.normal(size=7)
    out = np.empty((7, 7))
    multiply(left, np.ascontiguousarray(left.T), out)
    np.testing.assert_allclose(out, left @ left.T, rtol=1e-12)
    solution = np.empty(7)
    assert solve_positive(out.copy(), right, solution)
    np.testing.assert_allclose(solution, np.linalg.solve(out, right), rtol=1e-6)
    affine = np.vstack([random.normal(size=(3, 4)), [0.0, 0.0, 0.0, 1.0]])
    np.testing.assert_allclose(inverse_affine(affine), np.linalg.inv(affine), atol=1e-10)


def test_a_singular_matrix_has_no_solution():
    assert not solve_positive(np.ones((7, 7)), np.ones(7), np.empty(7))
    assert not solve_positive(np.full((7, 7), np.nan), np.ones(7), np.empty(7))


def test_cayley_is_the_textbook_rotation():
    a = np.array([0.1, -0.3, 0.2])
    out = np.empty((3, 3))
    cayley(*a, out)
    np.testing.assert_allclose(out, naive.cayley(a), atol=1e-15)
    np.testing.assert_allclose(out @ out.T, np.eye(3), atol=1e-15)


def _problem():
    """Places (3, 300) of which some lie outside the volume, and the rows (300, 16) of the points there."""
    random = np.random.default_rng(6)
    places = random.uniform(-1.0, 8.0, (3, 300)).astype(np.float32)
    values, (gradients, bends) = random.normal(500.0, 50.0, 300), random.normal(size=(2, 300, 3))
    rows = np.zeros((300, 16), np.float32)
    rows[:, :13] = [naive.steepest_descent(*point) for point in zip(places.T, values, gradients, bends, strict=True)]
    return places, rows


@pytest.mark.parametrize("cutoff", [0.0, 60.0])
def test_robust_sums_leave_out_points_outside_and_outliers(volume, cutoff):
    (places, rows), margin = _problem(), np.array([1.0, 1.5, 1.0])
    shading = np.array([1.1, 0.01, -0.02, 0.005, 0.1, -0.2, 0.3])
    transform = np.hstack([np.eye(3), np.array([[0.2], [-0.1], [0.3]])])
    right, sums, histogram = np.empty(16), np.empty(2), np.empty(8, np.int64)
    robust_sums(volume, transform, places, rows, 290, shading, cutoff, margin, 20.0, histogram, right, sums)
    wanted, residuals, weight = naive.robust_sums(volume, transform, places.T[:290], rows[:290], shading, cutoff,
                                                  margin)
    assert 20 < sums[0] == len(residuals) < 290
    np.testing.assert_allclose(right[:13], wanted, rtol=1e-4, atol=1e-4 * np.abs(wanted).max())
    np.testing.assert_array_equal(right[13:], 0.0)
    assert sums[1] == pytest.approx(weight, rel=1e-4)
    np.testing.assert_array_equal(histogram, np.histogram(np.minimum(residuals, 150.0), 8, (0.0, 160.0))[0])
    # within half a bin of the true median
    assert 20.0 * histogram_median(histogram, sums[0]) == pytest.approx(np.median(np.minimum(residuals, 150.0)), abs=10)
    if cutoff:
        assert weight < 0.7 * len(residuals)


def test_hessian_is_the_sum_of_outer_products():
    rows, got = _problem()[1], np.empty((13, 13))
    sum_of_outer_products(rows, got)
    double = rows[:, :13].astype(float)
    np.testing.assert_allclose(np.tril(got), np.tril(double.T @ double), rtol=1e-9, atol=1e-6)


def test_a_step_solves_the_equations_and_goes_the_other_way():
    random = np.random.default_rng(7)
    root, right = random.normal(size=(30, 11)), random.normal(size=11)
    hessian = root.T @ root
    step = np.linalg.solve(hessian, right)
    rotation, position, shading = np.eye(3), np.array([1.0, 2.0, 3.0]), np.array([1.5, 0.0, 0.0, 0.0, 0.0])
    size_mm = gauss_newton_step(hessian.copy(), right, 60.0, rotation, position, shading)
    np.testing.assert_allclose(shading, np.array([1.5, 0.0, 0.0, 0.0, 0.0]) + step[6:], rtol=1e-9)
    motion = step[:6] / shading[0]
    np.testing.assert_allclose(rotation, naive.cayley(-0.5 * motion[3:]), atol=1e-12)
    np.testing.assert_allclose(position, [1.0, 2.0, 3.0] - rotation @ motion[:3], atol=1e-9)
    assert size_mm == pytest.approx(np.linalg.norm(motion[:3]) + 60.0 * np.linalg.norm(motion[3:]))


@pytest.mark.parametrize("hessian", [np.ones((11, 11)), np.full((11, 11), np.nan), 1e-9 * np.eye(11)])
def test_no_step_is_taken_that_has_no_solution_or_leaves_the_scanner(hessian):
    pose = np.eye(3), np.zeros(3), np.array([1.0, 0.0, 0.0, 0.0, 0.0])
    assert np.isnan(gauss_newton_step(hessian.copy(), np.ones(11), 60.0, *pose))
    np.testing.assert_array_equal(pose[0], np.eye(3))
    np.testing.assert_array_equal(pose[1], np.zeros(3))
    np.testing.assert_array_equal(pose[2], [1.0, 0.0, 0.0, 0.0, 0.0])


def test_the_sharpened_filter_passes_low_frequencies_and_stops_high_ones():
    def response(order, cycles_per_voxel, fwhm_voxels):
        taps = smoothing_filter((1.0, 1.0, 1.0), fwhm_voxels, 1e-9, order=order).taps_x.astype(float)
        k = np.arange(1, len(taps))
        spline = 2.0 / 3.0 + np.cos(2.0 * np.pi * cycles_per_voxel) / 3.0  # coefficients to samples
        return spline * (taps[0] + 2.0 * (taps[1:] * np.cos(2.0 * np.pi * cycles_per_voxel * k)).sum())

    for cycles in (0.05, 0.2, 0.4):
        plain = np.exp(-2.0 * (np.pi * cycles * 2.5 / np.sqrt(8.0 * np.log(2.0))) ** 2)
        assert response(1, cycles, 2.5) == pytest.approx(plain, abs=2e-3)
        assert response(4, cycles, 2.5) == pytest.approx(1.0 - (1.0 - plain) ** 4, abs=5e-3)


def test_centre_of_mass_and_mean_equal_the_textbook(volume):
    centre = np.empty(4)
    centre_of_mass(volume, 480.0, centre)
    np.testing.assert_allclose(centre[:3], naive.centre_of_mass(volume.astype(float), 480.0), rtol=1e-9)
    assert mean_intensity(volume) == pytest.approx(volume.astype(float).mean(), rel=1e-12)


def test_repair_fills_exactly_what_is_not_finite_or_too_large(volume):
    damaged = volume.copy()
    damaged[0, 0, 0], damaged[1, 2, 3], damaged[6, 8, 10] = np.nan, -np.inf, 2e30
    reference = np.full(SHAPE, 100.0, np.float32)
    assert repair(damaged, reference, 1.5, 1e30) == 3
    assert damaged[0, 0, 0] == damaged[1, 2, 3] == damaged[6, 8, 10] == 150.0
    untouched = np.isin(damaged, [150.0], invert=True)
    np.testing.assert_array_equal(damaged[untouched], volume[untouched])


def test_machine_code_on_disk_is_not_used_again_once_any_file_with_kernels_has_changed(tmp_path):
    (tmp_path / "a_kernels.py").write_text("a = 1")
    (tmp_path / "b_kernels.py").write_text("b = 1")
    (tmp_path / "other.py").write_text("c = 1")
    before = digest_of_kernels(tmp_path)
    (tmp_path / "other.py").write_text("c = 2")
    assert digest_of_kernels(tmp_path) == before
    (tmp_path / "b_kernels.py").write_text("b = 2")
    assert digest_of_kernels(tmp_path) != before
    key = mirror._cache._index_key(None, mirror.targetctx.codegen())
    assert digest_of_kernels(Path(kernels.__file__).parent) in key
