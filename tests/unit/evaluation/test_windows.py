"""Scores do not depend on the windows in which the cubes are read."""

from contextlib import contextmanager

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hsipipe.artifacts import views
from hsipipe.degradation import masked
from hsipipe.degradation.psf import Psf
from hsipipe.evaluation.correlation import Correlation
from hsipipe.evaluation.ensemble import SpectralFrame
from hsipipe.evaluation.scoring import mask_inputs, measure, score
from hsipipe.formats import open_cube
from hsipipe.protocols.metrics import METRICS
from hsipipe.storage.stored_cube import StoredCube

SCALE, BANDS, HEIGHT, WIDTH = 4, 3, 104, 40
PSFS = (Psf(), Psf("gaussian", mtf=0.3), Psf("average"), Psf("gaussian", sigma=9.0))


@contextmanager
def windows_of(nbytes):
    """Windows of about so many bytes; 1: the fewest rows."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(views, "WINDOW_BYTES", nbytes)
        patch.setattr(masked, "_WINDOW_BYTES", nbytes)
        yield


def cubes(seed):
    rng = np.random.default_rng(seed)
    smooth = rng.random((BANDS, 1, 1)) * np.sin(np.arange(HEIGHT) / 9 + 1)[:, None] ** 2 * np.ones(WIDTH)
    hr = (smooth + rng.random((BANDS, HEIGHT, WIDTH)) / 5).astype(np.float32)
    sr = (hr + rng.normal(0, 0.02, hr.shape)).astype(np.float32)
    lr = Psf().downsample(hr, SCALE)
    msi = np.einsum("kc,cyx->kyx", np.full((2, BANDS), 1 / BANDS), hr).astype(np.float32)
    return sr, hr, lr, msi


def everything(sr, hr, lr, msi, *, valid=None, psf=PSFS[0], samples=1):
    """All metrics, those of samples, too."""
    given_ = {"lr": lr, "msi": msi, "psf": psf, "response": np.full((2, BANDS), 1 / BANDS), "valid": valid}
    drawn = [sr, *(np.asarray(sr) * np.float32(1 + number / 50) for number in range(1, samples))]
    inputs = {"samples": drawn, "hr": hr, "lr": lr, "scale": SCALE, "psf": psf}
    inputs |= {"frame": SpectralFrame(np.eye(BANDS), np.ones(BANDS)), **mask_inputs(valid, hr, SCALE)}
    if samples > 1:
        inputs |= {"ensemble": drawn, "centre": sr, "half_width": np.abs(np.asarray(sr)) / 50}
    return score(sr, hr, SCALE, **given_) | measure(inputs)


def near(values):
    return pytest.approx(values, rel=1e-9, abs=1e-12, nan_ok=True)


@settings(max_examples=20, deadline=None)
@given(
    seed=st.integers(0, 99),
    nbytes=st.sampled_from([1, 3 * 4 * WIDTH * 9, 3 * 4 * WIDTH * 50]),
    holes=st.sampled_from([0.0, 0.002, 0.5]),
    psf=st.sampled_from(PSFS),
    samples=st.sampled_from([1, 3]),
)
def test_windows_of_any_size_give_the_scores_of_the_whole_cube(seed, nbytes, holes, psf, samples):
    given_ = cubes(seed)
    valid = np.random.default_rng(seed).random((HEIGHT, WIDTH)) >= holes
    if holes:
        valid[16:48] = False  # whole windows without data
    whole = everything(*given_, valid=valid, psf=psf, samples=samples)
    with windows_of(nbytes):
        assert everything(*given_, valid=valid, psf=psf, samples=samples) == near(whole)
    wanted = {metric.key for metric in METRICS if metric.function}
    assert whole.keys() == (
        wanted if samples > 1 else wanted - {"coverage_90", "spread_skill", "sample_consistency_db"}
    )


@settings(max_examples=5, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(seed=st.integers(0, 99))
def test_cubes_in_files_have_the_scores_of_those_in_memory(tmp_path_factory, seed):
    given_, folder = cubes(seed), tmp_path_factory.mktemp("cubes")
    stored = []
    for number, values in enumerate(given_):
        stored.append(StoredCube.create(folder / f"{number}.npy", values.shape))
        stored[-1][:, :] = values
    whole = everything(*given_)
    with windows_of(3 * 4 * WIDTH * 9):
        assert everything(*stored) == near(whole)
        lazy = [open_cube(cube.path, bands=len(cube)) for cube in stored]
        plain = score(lazy[0], lazy[1], SCALE, lr=lazy[2])
        assert plain == near({key: whole[key] for key in plain})


def test_no_more_than_a_window_is_read_at_once(tmp_path):
    """But for a band of the power spectra, and the rows around a window."""
    largest = 0

    class Watched(StoredCube):
        def __getitem__(self, index):
            nonlocal largest
            values = super().__getitem__(index)
            largest = max(largest, values.size if values.ndim == 3 else 0)
            return values

    stored = []
    for number, values in enumerate(cubes(0)):
        stored.append(Watched.create(tmp_path / f"{number}.npy", values.shape))
        stored[-1][:, :] = values
    with windows_of(1):
        score(stored[0], stored[1], SCALE, lr=stored[2], msi=stored[3])
    assert largest <= BANDS * WIDTH * SCALE * (masked.BLOCK_ROWS + 4)


@given(
    values=st.lists(st.tuples(st.floats(-1, 1), st.floats(-1, 1)), min_size=3, max_size=40),
    at=st.integers(1, 2),
    far=st.sampled_from([0.0, 1e6]),
)
def test_correlation_of_parts_is_that_of_the_whole(values, at, far):
    a, b = (np.array(column) + far for column in zip(*values, strict=True))
    whole = Correlation.of(a, b)
    parts = Correlation.of(a[:at], b[:at]) + Correlation.of(a[at:], b[at:])
    assert parts.is_constant == whole.is_constant
    assert parts.squares == pytest.approx(whole.squares, abs=1e-6 if far else 1e-12)
    if min(whole.squares) > 1e-3:
        assert parts.coefficient == pytest.approx(whole.coefficient, abs=1e-6 if far else 1e-12)
        assert whole.coefficient == pytest.approx(np.corrcoef(a, b)[0, 1], abs=1e-6)
