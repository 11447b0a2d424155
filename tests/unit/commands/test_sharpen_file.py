"""A scene in; a result, a picture and a record out, or nothing."""

import json
import re
from hashlib import sha256

import numpy as np
import pytest
import xarray as xr
from affine import Affine
from PIL import Image
from scipy.ndimage import map_coordinates
from small_network import small_group_network, small_network
from typer.testing import CliRunner

import hsipipe.commands.sharpen_file as module
from flows.__main__ import app
from hsipipe.commands.pair_table import pair_table
from hsipipe.degradation.psf import Psf
from hsipipe.errors import AlreadyRunningError, DataError, HsipipeError, ParamsError
from hsipipe.exits import NOTHING_BETTER
from hsipipe.formats import open_cube, save_cube
from hsipipe.formats.georeference import attach, transform_of
from hsipipe.sharpen.candidates import untrained
from hsipipe.storage.manifest import digest
from hsipipe.storage.publish import publish, unfinished_folder


@pytest.fixture
def scene(tmp_path):
    """A scene of 45 x 33 pixels in units of 1/10000 with a hole, a constant band, wavelengths and a position."""
    rng = np.random.default_rng(0)
    fields = rng.uniform(0.1, 0.9, (5, 12, 9)).repeat(4, axis=1).repeat(4, axis=2)[:, :45, :33]
    values = Psf("gaussian", sigma=0.8).downsample(fields.astype(np.float32), 1) * 10000
    values[2] = 5.0
    values[:, 20:22, 15:17] = np.nan
    cube = xr.DataArray(values, dims=("band", "y", "x"), name="reflectance")
    cube = cube.assign_coords(wavelength_nm=("band", [450.0, 550.0, 650.0, 850.0, 1600.0]))
    save_cube(attach(cube, crs=32632, transform=Affine(30, 0, 500000, 0, -30, 4649000)), tmp_path / "scene.nc")
    return tmp_path / "scene.nc"


@pytest.fixture(autouse=True)
def without_training(monkeypatch):
    monkeypatch.setattr("hsipipe.sharpen.compare.fit_network", lambda *_, **__: (None, "not in this test"))


def sharpen(*words):
    return CliRunner().invoke(app, ["sharpen", *map(str, words)])


def test_result_picture_and_record_are_written(scene, tmp_path):
    done = sharpen(scene, tmp_path / "high.nc", "--scale", 2, "--minutes", 1)
    assert done.exit_code == 0, done.output
    sr = open_cube(tmp_path / "high.nc")
    assert sr.shape == (4, 90, 66)
    assert sr["wavelength_nm"].values.tolist() == [450.0, 550.0, 850.0, 1600.0]
    assert transform_of(sr)[:3] == (15.0, 0.0, 500000.0)
    holes = np.isnan(sr.values)
    assert holes.all(axis=0).sum() == holes.any(axis=0).sum() == 16
    assert holes[:, 40:44, 30:34].all()
    with Image.open(tmp_path / "high.png") as picture:
        assert picture.size[0] > 2 * 66
    tree = json.loads((tmp_path / "high.json").read_text())
    assert set(tree["held_out"]) == {"bicubic", "back-projection"}
    assert {"mpsnr_db", "sam_deg", "ergas", "gain_db_by_group"} <= set(tree["held_out"]["bicubic"])
    assert set(tree["gain_db_by_group"]) == {"blue", "green", "NIR", "SWIR"}
    assert (tree["method"], tree["better_than_bicubic"]) == ("back-projection", True)
    assert tree["dropped_bands"] == ["band 3 (650 nm)"]
    assert tree["skipped"] == {"group-residual": "not in this test"}
    assert tree["pixel_size"] == {"source": 30.0, "result": 15.0}
    assert tree["full_scale"] == 10000
    assert tree["source_sha256"] == {"scene": sha256(scene.read_bytes()).hexdigest()}
    assert tree["result"] in done.output
    assert sorted(path.name for path in tmp_path.iterdir()) == ["high.json", "high.nc", "high.png", "scene.nc"]


def test_if_nothing_is_better_the_interpolation_is_written_and_the_exit_code_says_so(scene, tmp_path, monkeypatch):
    monkeypatch.setattr("hsipipe.sharpen.compare.SINGLE", ())
    done = sharpen(scene, tmp_path / "high.npy", "--scale", 2)
    assert done.exit_code == NOTHING_BETTER == 3
    assert "No candidate beats bicubic interpolation" in done.output
    assert json.loads((tmp_path / "high.json").read_text())["method"] == "bicubic"
    assert (tmp_path / "high.npy").exists()


def test_an_interrupted_prediction_leaves_nothing(scene, tmp_path, monkeypatch):
    def interrupted(*_, **__):
        (tmp_path / ".high.nc.part").mkdir()
        raise KeyboardInterrupt

    monkeypatch.setattr(module, "predict_in_windows", interrupted)
    with pytest.raises(KeyboardInterrupt):
        module.sharpen_file(scene, tmp_path / "high.nc", module.SharpenOptions(scale=2, minutes=1))
    assert [path.name for path in tmp_path.iterdir()] == ["scene.nc"]


@pytest.mark.parametrize(
    ("options", "target", "error", "message"),
    [
        ({"scale": 5}, "high.nc", ParamsError, "--scale must be one of 2, 3, 4, 8, got 5"),
        ({"scale": 8}, "high.nc", DataError, None),
        ({"scale": 2, "minutes": np.inf}, "high.nc", ParamsError, "--minutes must be a positive number, got inf"),
        ({"scale": 2, "minutes": np.nan}, "high.nc", ParamsError, "--minutes must be a positive number, got nan"),
        ({"scale": 2, "minutes": 1e307}, "high.nc", ParamsError, "--minutes must be a positive number"),
        ({"scale": 2}, "scene.nc", ParamsError, "A result would replace the input .*scene.nc"),
        ({"scale": 2, "registered": True}, "high.nc", ParamsError, "--register aligns a pair of images; give .* --msi"),
        ({"scale": 2, "full_scale": -1.0}, "high.nc", ParamsError, "full-scale must be a positive number"),
    ],
)
def test_what_cannot_be_done_is_refused_before_the_work(scene, tmp_path, options, target, error, message):
    if options["scale"] == 8:
        save_cube(open_cube(scene)[:, :28], tmp_path / "small.nc")
        scene, message = tmp_path / "small.nc", "The scene of 28 x 33 pixels is too small at scale 8: at least 32 x 32"
    with pytest.raises(error, match=message):
        module.sharpen_file(scene, tmp_path / target, module.SharpenOptions(**options))


def saved(model, folder):
    with publish(folder) as out:
        model.save(out)
    return folder


def test_the_record_says_what_the_network_started_from(scene, tmp_path, monkeypatch):
    given = []

    def not_trained(*_, start, **__):
        given.append(start)
        return None, "not in this test"

    monkeypatch.setattr("hsipipe.sharpen.compare.fit_network", not_trained)
    model = saved(small_group_network().named("group-residual-ensemble"), tmp_path / "model")
    done = sharpen(scene, tmp_path / "high.nc", "--start", model)
    assert done.exit_code == 0, done.output
    assert [(start.KIND, start.scale) for start in given] == [("group-residual", 2)]
    tree = json.loads((tmp_path / "high.json").read_text())
    assert tree["scale"] == 2
    assert tree["start"] == {
        "name": "group-residual-ensemble",
        "version": None,
        "place": str(model),
        "sha256": digest(model),
    }
    sr = open_cube(tmp_path / "high.nc")
    assert json.loads(sr.attrs["hsipipe_parameters"])["start"] == tree["start"]


@pytest.mark.parametrize(
    ("make", "words", "message"),
    [
        (small_network, [], "model is pca-residual, which cannot carry over to another sensor"),
        (lambda: untrained("bicubic", scale=2, psf=None), [], "model is bicubic, which has no weights to start from"),
        (lambda: small_group_network(scale=4), ["--scale", 2], "model is trained for scale 4, got --scale 2"),
        (lambda: small_group_network(group=5), ["--scale", 2], "model works on groups of 5 bands, and the scene has 4"),
        (small_group_network, ["--msi", "msi.nc"], "--start is for a single image"),
        (None, [], "model holds no model: MANIFEST.json is missing"),
    ],
)
def test_a_model_that_is_no_start_is_refused_in_a_line(scene, tmp_path, make, words, message):
    if make is not None:
        saved(make(), tmp_path / "model")
    before = sorted(tmp_path.iterdir())
    done = sharpen(scene, tmp_path / "high.nc", "--start", tmp_path / "model", *words)
    assert done.exit_code == 1
    assert isinstance(done.exception, HsipipeError), done.output
    assert message in str(done.exception)
    assert len(str(done.exception).splitlines()) == 1
    assert sorted(tmp_path.iterdir()) == before


@pytest.fixture
def pair(tmp_path):
    """LR-HSI and HR-MSI that lies two rows too far down, and the true HR-HSI."""
    rng, psf = np.random.default_rng(1), Psf("gaussian", mtf=0.3)
    truth = rng.uniform(0.1, 0.9, (6, 25, 24)).repeat(4, axis=1).repeat(4, axis=2).astype(np.float32)
    msi = np.stack([truth[:3].mean(axis=0), truth[3:].mean(axis=0)])
    for name, values in (
        ("lr", psf.downsample(truth[:, 2:98], 2)),
        ("msi", msi[:, 2:98]),
        ("shifted", msi[:, :96]),
    ):
        save_cube(xr.DataArray(values, dims=("band", "y", "x")), tmp_path / f"{name}.nc")
    return truth[:, 2:98]


def test_a_pair_is_described(pair, tmp_path):
    done = CliRunner().invoke(app, ["pair", str(tmp_path / "lr.nc"), str(tmp_path / "shifted.nc")])
    assert done.exit_code == 0, done.output
    words = " ".join(done.output.split())
    assert "HR-MSI 2 bands, 96 x 96 pixels, ratio 2" in words
    before, after = (float(x) for x in re.search(r"residual ([\d.]+) HR pixels before, ([\d.]+) after", words).groups())
    assert before == pytest.approx(2, abs=0.2)
    assert after < 0.2


def test_a_shifted_pair_is_aligned_before_the_fusion(pair, tmp_path, monkeypatch):
    monkeypatch.setattr("hsipipe.sharpen.compare.PAIR", ("gsa",))
    errors = {}
    for name in ("plain", "aligned"):
        words = [tmp_path / "lr.nc", tmp_path / f"{name}.nc", "--msi", tmp_path / "shifted.nc", "--mtf", 0.3]
        done = sharpen(*words, *(["--register"] if name == "aligned" else []))
        assert done.exit_code == (0 if name == "aligned" else NOTHING_BETTER), done.output
        sr = open_cube(tmp_path / f"{name}.nc").values
        errors[name] = np.nanmean(np.square(sr - pair)[:, 8:-8, 8:-8])
    assert errors["aligned"] < 0.75 * errors["plain"]
    # Its last rows lie outside of the shifted HR-MSI.
    assert np.isnan(sr[:, -1]).all()
    assert not np.isnan(sr[:, 4:-4, 4:-4]).any()


def test_a_pair_is_fused_and_has_a_quality_without_truth(pair, tmp_path, monkeypatch):
    monkeypatch.setattr("hsipipe.sharpen.compare.PAIR", ("gsa",))
    done = sharpen(tmp_path / "lr.nc", tmp_path / "fused.nc", "--msi", tmp_path / "msi.nc", "--minutes", 1)
    assert done.exit_code == 0, done.output
    tree = json.loads((tmp_path / "fused.json").read_text())
    assert (tree["method"], tree["scale"]) == ("gsa", 2)
    assert 0 < tree["without_truth"]["qnr"] <= 1
    assert set(tree["source_sha256"]) == {"scene", "msi"}
    assert open_cube(tmp_path / "fused.nc").shape == pair.shape


def test_an_hr_msi_of_another_ratio_and_extent_is_resampled(pair, tmp_path, monkeypatch):
    monkeypatch.setattr("hsipipe.sharpen.compare.PAIR", ("gsa",))
    low, fine = (open_cube(tmp_path / f"{name}.nc").load() for name in ("lr", "msi"))
    save_cube(attach(low, crs=32632, transform=Affine(30, 0, 500000, 0, -30, 4649000)), tmp_path / "lr.nc")
    # Pixels of 12 m in place of 15 m, and some more of them on each side.
    y, x = (12 / 15 * (np.arange(size) - edge + 0.5) - 0.5 for size, edge in ((124, 2), (126, 3)))
    places = np.meshgrid(y, x, indexing="ij")
    values = np.stack([map_coordinates(band, places, order=1, mode="nearest") for band in fine.values])
    large = xr.DataArray(values, dims=("band", "y", "x"))
    grid = Affine(12, 0, 500000 - 36, 0, -12, 4649000 + 24)
    save_cube(attach(large, crs=32632, transform=grid), tmp_path / "large.nc")
    results = {}
    for name in ("msi", "large"):
        done = sharpen(tmp_path / "lr.nc", tmp_path / "fused.nc", "--msi", tmp_path / f"{name}.nc", "--mtf", 0.3)
        assert done.exit_code == 0, done.output
        results[name] = open_cube(tmp_path / "fused.nc").load()
    assert transform_of(results["large"]) == transform_of(results["msi"]) == Affine(15, 0, 500000, 0, -15, 4649000)
    errors = [np.square(results[name].values - pair)[:, 4:-4, 4:-4].mean() for name in ("large", "msi")]
    assert errors[0] < 1.2 * errors[1]


def test_an_infinite_value_of_the_hr_msi_is_no_data_as_one_of_the_scene(pair, tmp_path, monkeypatch):
    monkeypatch.setattr("hsipipe.sharpen.compare.PAIR", ("gsa",))
    for name, place, value in (("lr", (2, 30, 31), np.inf), ("msi", (1, 20, 41), -np.inf)):
        cube = open_cube(tmp_path / f"{name}.nc").load()
        cube[place] = value
        save_cube(cube, tmp_path / f"{name}-infinite.nc")
    words = [tmp_path / "lr-infinite.nc", tmp_path / "fused.nc", "--msi", tmp_path / "msi-infinite.nc", "--minutes", 1]
    done = sharpen(*words)
    assert done.exit_code == 0, done.output
    missing = np.isnan(open_cube(tmp_path / "fused.nc").values)
    assert missing.all(axis=0).sum() == missing.any(axis=0).sum() == 4 + 1
    assert missing[:, 60:62, 62:64].all()
    assert missing[:, 20, 41].all()


def test_a_ratio_below_two_is_refused_for_a_pair_as_well(tmp_path):
    with pytest.raises(ParamsError, match="--scale must be at least 2, got 0"):
        module.sharpen_file(
            tmp_path / "lr.nc", tmp_path / "x.nc", module.SharpenOptions(scale=0), msi=module.MsiFile(tmp_path / "m.nc")
        )


def test_parts_of_a_paused_prediction_stay(scene, tmp_path, monkeypatch):
    parts = tmp_path / ".high.nc.part"
    parts.mkdir()
    (parts / "made_of.json").write_text('{"shards": 3, "made_of": {"model": "a"}}')
    with pytest.raises(ParamsError, match=r"\.high\.nc\.part holds an unfinished prediction of .*choose another name"):
        module.sharpen_file(scene, tmp_path / "high.nc", module.SharpenOptions(scale=2))

    def interrupted(*_, **__):
        raise KeyboardInterrupt

    # Begun while the candidates were compared.
    monkeypatch.setattr(module, "discard_ours", lambda target: None)
    monkeypatch.setattr(module, "_write_result", interrupted)
    with pytest.raises(KeyboardInterrupt):
        module.sharpen_file(scene, tmp_path / "high.nc", module.SharpenOptions(scale=2))
    assert (parts / "made_of.json").is_file()


def test_parts_of_an_earlier_sharpening_go_and_those_being_written_stay(tmp_path):
    target, parts = tmp_path / "high.nc", tmp_path / ".high.nc.part"
    with unfinished_folder(target), pytest.raises(AlreadyRunningError):
        module.discard_ours(target)
    assert parts.is_dir()
    (parts / "made_of.json").write_text('{"shards": 3, "made_of": {"command": "sharpen", "model": "a"}}')
    module.discard_ours(target)
    assert not parts.exists()


def test_infinite_values_have_no_data_and_a_failed_picture_is_a_warning(scene, tmp_path, monkeypatch, capsys):
    cube = open_cube(scene).load()
    cube[0, 5, 5] = np.inf
    cube[3] = 0
    cube[3, 5, 7] = 100
    save_cube(cube, tmp_path / "infinite.nc")

    def failed(*_, **__):
        raise DataError("no band has values")

    monkeypatch.setattr(module, "side_by_side", failed)
    (tmp_path / "high.png").touch()
    module.sharpen_file(tmp_path / "infinite.nc", tmp_path / "high.nc", module.SharpenOptions(scale=2, minutes=1))
    assert np.isnan(open_cube(tmp_path / "high.nc").values[:, 10:12, 10:12]).all()
    assert (tmp_path / "high.json").is_file()
    assert not (tmp_path / "high.png").exists()
    told = capsys.readouterr().err
    assert re.search(r"warning: .*high\.png is not written: no band has values", told)
    assert re.search(r"note: the scores for (choosing|judging) are those of 3 of 4 bands; the others", told)


def test_what_does_not_fit_into_the_memory_is_not_compared(scene, tmp_path, monkeypatch):
    monkeypatch.setattr("hsipipe.memory.available_memory", lambda: (1 << 20, 1 << 20))
    cube = open_cube(scene)
    admit = module._admission(cube, tmp_path / "high.nc", None, scale=2)
    psf = Psf("gaussian", mtf=0.3)
    admit("bicubic", untrained("bicubic", scale=2, psf=psf))
    admit("back-projection", untrained("back-projection", scale=2, psf=psf))
    admit("group-residual", None)
    with pytest.raises(DataError, match="of memory, but"):
        admit("hysure", untrained("hysure", scale=2, psf=psf))
    with pytest.raises(DataError, match="of memory, but"):
        module._admission(cube, tmp_path / "high.nc", module.MsiFile(scene), scale=2)


def test_the_pixel_size_of_a_rotated_grid_is_a_length():
    cube = xr.DataArray(np.zeros((1, 4, 4)), dims=("band", "y", "x"))
    turned = attach(cube, crs=32632, transform=Affine.rotation(30) @ Affine.scale(30, -30))
    assert module._pixel_size(turned, 2) == pytest.approx({"source": 30.0, "result": 15.0})


def test_a_pair_of_one_row_is_refused(tmp_path):
    for name, shape in (("row", (3, 1, 20)), ("fine", (2, 2, 40))):
        save_cube(xr.DataArray(np.ones(shape, np.float32), dims=("band", "y", "x")), tmp_path / f"{name}.nc")
    with pytest.raises(DataError, match="The scene of 1 x 20 pixels is too small at scale 2"):
        pair_table(tmp_path / "row.nc", module.MsiFile(tmp_path / "fine.nc"))
