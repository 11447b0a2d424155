"""A prediction in windows has the bits of that of the whole cube, whatever the windows."""

from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import dask.array as da
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.ndimage import uniform_filter
from small_network import small_group_network, small_network

import hsipipe.inference.plan
import hsipipe.inference.scene
import hsipipe.inference.sink
import hsipipe.storage.publish
from hsipipe.degradation.bicubic import upsample
from hsipipe.errors import ParamsError
from hsipipe.formats import open_cube, save_cube, writer
from hsipipe.formats.base import make_cube
from hsipipe.formats.provenance import attach_provenance
from hsipipe.formats.regrid import refine
from hsipipe.inference.blend import margin_of
from hsipipe.inference.guard import judge
from hsipipe.inference.inputs import prepare
from hsipipe.inference.made_of import progress_of
from hsipipe.inference.plan import BLOCK, Plan
from hsipipe.inference.run import WindowPrediction
from hsipipe.inference.scene import predict_scene, predict_scene_into, predict_scene_with_spread
from hsipipe.inference.sink import open_sink
from hsipipe.inference.source import survey
from hsipipe.inference.statistics import Statistic, guarded_statistics
from hsipipe.storage.publish import discard, unfinished

SCALE, FULL_SCALE = 2, 1000.0


@dataclass(frozen=True)
class Local:
    """Sees its neighbours and the border of a tile, and adds what depends on the place in the scene."""

    name, scale, bands, msi_bands, nfe = "local", SCALE, None, 0, 0
    varies, sample_nfe, averages, interval_scale = True, 1, True, 1.5

    def predict(self, lr, *, msi=None, origin=(0, 0)):
        seen = uniform_filter(lr, (0, 0, 3, 3), mode="constant")
        rows, columns = np.indices(lr.shape[2:]) + np.reshape(origin, (2, 1, 1))
        placed = (seen + 0.01 * np.sin(rows + 3 * columns)).astype(np.float32)
        return placed.repeat(SCALE, axis=2).repeat(SCALE, axis=3)

    def draw(self, lr, *, count, msi=None, origin=(0, 0)):
        yield from [self.predict(lr, origin=origin)] * count

    def predict_with_spread(self, lr, *, count, msi=None, origin=(0, 0)):
        mean = self.predict(lr, origin=origin)
        return mean, (0.1 * count * mean).astype(np.float32)


class InComponents:
    """As Local, with a correction of the LR image and two components."""

    name, scale, bands, msi_bands, nfe = "in-components", SCALE, None, 0, 0
    spectra = np.array([[0.5, -0.2, 0.8], [0.1, 0.9, 0.3]], np.float32)

    def parts(self, lr, *, msi=None, origin=(0, 0)):
        seen = uniform_filter(lr, (0, 0, 3, 3), mode="constant")
        fine = Local().predict(lr[:, :2], origin=origin)
        return seen, fine

    def predict(self, lr, *, msi=None, origin=(0, 0)):
        low, fine = self.parts(lr, origin=origin)
        return upsample(low, SCALE) + np.einsum("kc,bkhw->bchw", self.spectra, fine)


def consistent(network, count):
    network.consistency = count
    return network


MODELS = {
    "local": Local(),
    "in components": InComponents(),
    **{f"pca-residual, {n} corrections": consistent(small_network(bands=3), n) for n in (0, 2)},
    **{f"group-residual, {n} corrections": consistent(small_group_network(bands=3, group=2), n) for n in (0, 2)},
}
SIZES = st.tuples(st.integers(1, 60), st.integers(1, 60))
TILES = st.tuples(st.integers(1, 20), st.integers(0, 9)).filter(lambda size: 2 * size[1] < size[0])


def scene(height, width, *, seed=0, holes=0.0, bands=3):
    rng = np.random.default_rng(seed)
    values = rng.random((bands, height, width), dtype=np.float32) * np.float32(FULL_SCALE)
    values[seed % bands, rng.random((height, width)) < holes] = np.nan
    return make_cube(da.from_array(values, chunks=(bands, max(1, height // 3), -1)))


MEAN, LOCAL = (Statistic("mean"),), Local()


@contextmanager
def windows(cube, folder, plan, *, model=LOCAL, statistics=MEAN, count=None, suffix=".zarr", guarded=True):
    source = survey(cube, "scene", full_scale=FULL_SCALE, example="")
    targets = [folder / f"{number}{suffix}" for number, _ in enumerate(statistics)]
    with open_sink(
        targets,
        plan,
        wrap=lambda values: refine(cube, values, scale=SCALE),
        bands=len(cube),
        scale=SCALE,
        made_of={"model": "x"},
        provenance=WHENCE,
    ) as sink:
        sink.create()
        yield WindowPrediction(model, source, sink, plan, statistics, count, guarded), targets
        sink.publish()


@pytest.mark.parametrize("name", MODELS)
@settings(max_examples=12, deadline=None)
@given(
    SIZES,
    TILES,
    st.tuples(st.integers(1, 4), st.integers(1, 4)),
    st.integers(1, 3),
    st.sampled_from([0.0, 0.02, 0.6]),
    st.integers(0, 99),
)
def test_windows_have_the_bits_of_the_whole(name, size, tiles, shard, side_by_side, holes, seed):
    cube, (tile, overlap), model = scene(*size, seed=seed, holes=holes), tiles, MODELS[name]
    if np.isnan(cube.to_numpy()).any(axis=0).all():
        return
    whole = prepare(model, cube, name="scene", full_scale=FULL_SCALE)
    expected = whole.wrap(predict_scene(model, whole.lr, tile=tile, overlap=overlap)).to_numpy()
    plan = Plan(*size, tile, overlap, (shard[0] * BLOCK, shard[1] * BLOCK), margin_of(model))
    with TemporaryDirectory() as folder:
        with windows(cube, Path(folder), plan, model=model, guarded=False) as (work, (target,)):
            work.run(side_by_side=side_by_side)
        assert open_cube(target).to_numpy().tobytes() == expected.tobytes()
        assert [path.name for path in Path(folder).iterdir()] == [target.name]


@pytest.mark.parametrize("name", MODELS)
@settings(max_examples=8, deadline=None)
@given(SIZES, TILES, st.integers(0, 99), st.sampled_from([1, 3 * 4 * SCALE**2 * 20**2, 1 << 26]), st.integers(1, 3))
def test_a_scene_written_by_slices_has_the_bits_of_the_whole(name, size, tiles, seed, shard_bytes, side_by_side):
    lr = np.random.default_rng(seed).random((3, *size), dtype=np.float32)
    place = {"tile": tiles[0], "overlap": tiles[1]}
    out = np.full((3, *(SCALE * edge for edge in size)), np.nan, np.float32)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(hsipipe.inference.plan, "_SHARD_BYTES", shard_bytes)
        patch.setattr(hsipipe.inference.scene, "_OPEN_BYTES", side_by_side * shard_bytes)
        predict_scene_into(out, MODELS[name], lr, limits=(0.1, 0.9), **place)
    assert out.tobytes() == predict_scene(MODELS[name], lr, **place).clip(0.1, 0.9).tobytes()


def test_a_scene_in_components_is_that_of_its_tiles_expanded_before():
    lr = np.random.default_rng(0).random((3, 40, 50), dtype=np.float32)
    (whole,) = InComponents().predict(lr[None])
    np.testing.assert_allclose(predict_scene(InComponents(), lr, tile=50, overlap=3), whole, atol=1e-6)
    tiled, inside = predict_scene(InComponents(), lr, tile=24, overlap=4), slice(4, -4)
    assert np.abs(tiled - whole)[:, inside, inside].mean() < 0.01


PLAN = Plan(40, 50, 12, 3, (16, 24))
WHENCE = {"history": "then hsipipe predict", "hsipipe_date": "then"}


@pytest.mark.parametrize("suffix", [".zarr", ".nc", ".tif", ".npy", ".bil", ".bsq"])
def test_statistics_and_the_judgement_are_those_of_the_whole(tmp_path, suffix):
    cube = scene(40, 50, holes=0.01)
    statistics = [Statistic("mean"), Statistic("std"), Statistic.quantile(0.05)]
    whole = prepare(Local(), cube, name="scene", full_scale=FULL_SCALE)
    options = {"tile": 12, "overlap": 3}
    expected, told = guarded_statistics(Local(), whole.lr, statistics, count=4, guard="warn", **options)
    with windows(cube, tmp_path, PLAN, statistics=statistics, count=4, suffix=suffix) as (work, targets):
        work.run(side_by_side=2)
        assert work.doubts() == told
        detail, grid = work.sink.energies()
    assert told
    for target, image in zip(targets, expected, strict=True):
        assert open_cube(target).identical(whole_saved(attach_provenance(whole.wrap(image), WHENCE), target))
    mean, _ = predict_scene_with_spread(Local(), whole.lr, count=4, **options)
    judgement = judge(Local(), whole.lr, mean, **options)
    np.testing.assert_allclose(detail, judgement.detail, rtol=1e-4)
    np.testing.assert_allclose(grid, judgement.grid, rtol=1e-4)


def whole_saved(cube, target):
    """Save a whole cube; what is no Zarr store has the bytes of the file that was written in windows."""
    path = target.with_name(f"whole{target.suffix}")
    save_cube(cube, path)
    for suffix in ("", *writer(path).beside) if path.is_file() else ():
        assert Path(f"{path}{suffix}").read_bytes() == Path(f"{target}{suffix}").read_bytes()
    return open_cube(path)


class Killed(BaseException):
    """A kill at some tile."""


@pytest.mark.parametrize(("tiles", "suffix"), [(0, ".nc"), (3, ".tif"), (17, ".bsq"), (30, ".nc"), (30, ".npy")])
def test_killed_it_goes_on_with_the_missing_shards(tmp_path, tiles, suffix):
    cube = scene(40, 50)
    with windows(cube, tmp_path, PLAN) as (work, (target,)):
        work.run(side_by_side=1)
        told = work.doubts()
    expected = open_cube(target).to_numpy()

    class Dies(Local):
        left = tiles

        def predict(self, lr, **place):
            Dies.left -= 1
            if Dies.left < 0:
                raise Killed
            return super().predict(lr, **place)

    def go_on(model, side_by_side):
        with windows(cube, tmp_path, PLAN, model=model, suffix=suffix) as (work, (target,)):
            missing = len(work.sink.missing)
            work.run(side_by_side=side_by_side)
            assert work.doubts() == told
        return missing, target

    target = tmp_path / f"0{suffix}"
    with pytest.raises(Killed):
        go_on(Dies(), 1)
    assert not target.exists()
    found = progress_of(target)
    done = 0 if found is None else found.done
    assert (done > 0) == (tiles > 10)
    assert go_on(Local(), 2)[0] == len(PLAN.shards) - done
    np.testing.assert_array_equal(open_cube(target).to_numpy(), expected)
    assert progress_of(target) is None


def test_killed_between_two_results_it_publishes_the_other(tmp_path, monkeypatch):
    cube, statistics = scene(40, 50), [Statistic("mean"), Statistic("std")]
    plain = hsipipe.inference.sink.publish_folder

    def publish_one(folder, path):
        if path == tmp_path / "0.zarr":
            raise Killed
        plain(folder, path)

    def predict():
        with windows(cube, tmp_path, PLAN, statistics=statistics, count=4) as (work, targets):
            missing = len(work.sink.missing)
            work.run(side_by_side=1)
        return missing, targets

    monkeypatch.setattr(hsipipe.inference.sink, "publish_folder", publish_one)
    with pytest.raises(Killed):
        predict()
    assert not (tmp_path / "0.zarr").exists()
    std = open_cube(tmp_path / "1.zarr").to_numpy()
    assert std.all()
    monkeypatch.undo()
    missing, targets = predict()
    assert missing == 0
    assert open_cube(targets[0]).to_numpy().any()
    np.testing.assert_array_equal(open_cube(targets[1]).to_numpy(), std)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["0.zarr", "1.zarr"]


def test_an_unfinished_result_of_another_model_is_refused_by_what_differs(tmp_path):
    cube, targets = scene(40, 50), [tmp_path / "hr.zarr"]

    def begin(*, dies=False, **made_of):
        with open_sink(
            targets, PLAN, wrap=lambda v: refine(cube, v, scale=2), bands=3, scale=2, made_of=made_of, provenance={}
        ) as sink:
            missing = sink.missing
            sink.create()
            sink.write(PLAN.shards[0], [np.zeros((3, 32, 48), np.float32)], None)
            if dies:
                raise Killed
        return missing

    with pytest.raises(Killed):
        begin(model="a", tile=12, dies=True)
    with pytest.raises(ParamsError, match=r"made of something else \(model: a there, b now\)"):
        begin(model="b", tile=12)
    assert progress_of(targets[0]).done == 1
    assert begin(model="a", tile=12) == set(PLAN.shards[1:])


@pytest.mark.parametrize("suffix", [".zarr", ".bsq", ".tif"])
@pytest.mark.parametrize("is_removed", [False, True])
def test_killed_after_it_published_it_does_again_only_what_was_removed(tmp_path, monkeypatch, suffix, is_removed):
    cube, target = scene(40, 50), tmp_path / f"0{suffix}"
    plain = hsipipe.inference.sink.discard

    def die_at_the_end(folder):
        if folder == unfinished(target):
            raise Killed
        plain(folder)

    def predict():
        with windows(cube, tmp_path, PLAN, suffix=suffix) as (work, _):
            missing = len(work.sink.missing)
            work.run(side_by_side=1)
        return missing

    monkeypatch.setattr(hsipipe.inference.sink, "discard", die_at_the_end)
    with pytest.raises(Killed):
        predict()
    monkeypatch.undo()
    values = open_cube(target).to_numpy()
    if is_removed:
        discard(target)
    assert predict() == (len(PLAN.shards) if is_removed else 0)
    np.testing.assert_array_equal(open_cube(target).to_numpy(), values)
    assert progress_of(target) is None


def test_killed_between_a_header_and_its_data_it_publishes_the_data(tmp_path, monkeypatch):
    cube, target = scene(40, 50), tmp_path / "0.bsq"
    plain = hsipipe.storage.publish.os.replace

    def die_at_the_data(source, path):
        if Path(path) == target:
            raise Killed
        plain(source, path)

    def predict():
        with windows(cube, tmp_path, PLAN, suffix=".bsq") as (work, _):
            work.run(side_by_side=1)

    monkeypatch.setattr(hsipipe.storage.publish.os, "replace", die_at_the_data)
    with pytest.raises(Killed):
        predict()
    monkeypatch.undo()
    assert not target.exists()
    predict()
    assert open_cube(target).to_numpy().any()
