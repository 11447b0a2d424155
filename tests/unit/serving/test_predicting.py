"""Predict over HTTP: the answers have the bits that `hsipipe predict` writes."""

import hashlib
import json
from dataclasses import dataclass, field

import numpy as np
import pytest
import xarray as xr
from affine import Affine
from samplers import Spreads

import hsipipe.commands.predict_file
from hsipipe.commands.model_server import serve_model
from hsipipe.commands.predict_file import predict_file
from hsipipe.errors import ParamsError
from hsipipe.formats import open_cube, save_cube
from hsipipe.formats.cf import of_file
from hsipipe.formats.georeference import attach
from hsipipe.formats.netcdf import save_classic
from hsipipe.inference.pair import MsiFile
from hsipipe.methods.bicubic import Bicubic
from hsipipe.serving.limits import Limits

from .conftest import Fusion, npy, wait_until

pytestmark = pytest.mark.xdist_group("servers")

MEDIA = {".npy": "application/x-npy", ".nc": "application/x-netcdf", ".tif": "image/tiff"}


@dataclass(frozen=True)
class Counting(Bicubic):
    """Bicubic that notes the shapes of its inputs."""

    shapes: list = field(default_factory=list)

    def predict(self, lr, *, msi=None, origin=(0, 0)):
        self.shapes.append(lr.shape)
        return super().predict(lr)


@pytest.fixture
def cube():
    values = np.random.default_rng(0).random((4, 20, 17), dtype=np.float32)
    cube = xr.DataArray(values, dims=("band", "y", "x"), attrs={"gsd_m": 30.0})
    cube = cube.assign_coords(wavelength_nm=("band", [400.0, 500.0, 600.0, 700.0]))
    return attach(cube, crs=32632, transform=Affine(30, 0, 500000, 0, -30, 4649000))


@pytest.mark.parametrize("suffix", sorted(MEDIA))
@pytest.mark.parametrize(
    ("query", "options"),
    [
        ("", {}),
        ("?tile=8&overlap=2&full_scale=1000", {"tile": 8, "overlap": 2, "full_scale": 1000.0}),
    ],
)
def test_the_answer_has_the_bits_of_the_command(bicubic, cube, tmp_path, monkeypatch, suffix, query, options):
    monkeypatch.setattr(hsipipe.commands.predict_file, "load_model", lambda folder: Bicubic(2))
    monkeypatch.setattr(hsipipe.commands.predict_file, "digest_of", lambda model: "0" * 64)
    save = save_classic if suffix == ".nc" else save_cube
    save(cube * options.get("full_scale", 1), tmp_path / f"lr{suffix}")
    options = {"tile": 64, "overlap": 8, "full_scale": 1.0, **options}
    predict_file(tmp_path / f"lr{suffix}", tmp_path / f"hr{suffix}", model="x", **options)
    status, headers, body = bicubic.ask("POST", f"/predict{query}", (tmp_path / f"lr{suffix}").read_bytes())
    assert status == 200
    assert headers["X-Model-Version"] == "1"
    assert headers["Content-Type"] == MEDIA[suffix]
    if suffix == ".npy":
        assert body == (tmp_path / "hr.npy").read_bytes()
        return
    (tmp_path / f"answer{suffix}").write_bytes(body)
    answer, result = (open_cube(tmp_path / f"{name}{suffix}").compute() for name in ("answer", "hr"))
    said = of_file(answer.attrs)
    assert said["hsipipe_command"] == "model-server"
    assert said["hsipipe_input_sha256"] == hashlib.sha256((tmp_path / f"lr{suffix}").read_bytes()).hexdigest()
    xr.testing.assert_identical(without_provenance(answer), without_provenance(result))


def without_provenance(cube):
    """The cube without the facts in which an answer and the file of the command differ."""
    kept = cube.copy()
    kept.attrs = {key: value for key, value in cube.attrs.items() if key not in of_file(cube.attrs)}
    return kept


def test_a_date_that_is_none_is_refused_before_the_prediction(serve, cube, tmp_path, monkeypatch):
    client = serve(counting := Counting(2))
    before = len(counting.shapes)
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "yesterday")
    save_cube(cube, tmp_path / "lr.tif")
    assert "SOURCE_DATE_EPOCH is 'yesterday'" in client.refused((tmp_path / "lr.tif").read_bytes())[1]
    assert counting.shapes[before:] == []


def test_a_server_with_a_date_that_is_none_does_not_start(tmp_path, monkeypatch):
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "yesterday")
    with pytest.raises(ParamsError, match="SOURCE_DATE_EPOCH is 'yesterday', expected seconds since 1970"):
        serve_model(str(tmp_path), host="127.0.0.1", port=0, limits=Limits())


def test_one_variable_of_several_is_predicted(bicubic, cube, tmp_path):
    both = xr.Dataset({"low": cube.drop_vars("spatial_ref"), "half": cube.drop_vars("spatial_ref") / 2})
    both.to_netcdf(tmp_path / "lr.nc", engine="scipy", format="NETCDF3_64BIT")
    body = (tmp_path / "lr.nc").read_bytes()
    status, _, answer = bicubic.ask("POST", "/predict?variable=half", body)
    assert status == 200
    (tmp_path / "hr.nc").write_bytes(answer)
    expected = Bicubic(2).predict(cube.to_numpy()[None] / 2)[0]
    np.testing.assert_array_equal(open_cube(tmp_path / "hr.nc"), expected)
    assert "name one with variable=" in bicubic.refused(body)[1]


def test_a_batch_is_each_of_its_images(bicubic, cube):
    batch = np.stack([cube.to_numpy(), 1 - cube.to_numpy()])
    sr, _ = bicubic.predict(batch, "?tile=8&overlap=2")
    assert sr.dtype == np.float32
    for got, image in zip(sr, batch, strict=True):
        np.testing.assert_array_equal(got, bicubic.predict(image, "?tile=8&overlap=2")[0])


def test_pixels_without_data_have_none_in_the_answer(bicubic, cube):
    lr = cube.to_numpy().copy()
    lr[:, :, 0], lr[:, :, 1] = np.nan, np.inf
    sr, headers = bicubic.predict(lr)
    scale = sr.shape[-1] // lr.shape[-1]
    assert np.isnan(sr[:, :, : 2 * scale]).all()
    assert np.isfinite(sr[:, :, 2 * scale :]).all()
    assert "of the image has no data, and has none in the result" in headers["X-Note"]


def form(**parts):
    border = "----border"
    body = b""
    for name, value in parts.items():
        head = f'--{border}\r\nContent-Disposition: form-data; name="{name}"; filename="../../{name}"\r\n\r\n'
        body += head.encode() + value + b"\r\n"
    return body + f"--{border}--\r\n".encode(), {"Content-Type": f"multipart/form-data; boundary={border}"}


def test_a_fusion_model_takes_two_images(serve, cube, tmp_path, monkeypatch):
    monkeypatch.setattr(hsipipe.commands.predict_file, "load_model", lambda folder: Fusion())
    monkeypatch.setattr(hsipipe.commands.predict_file, "digest_of", lambda model: "0" * 64)
    fine = cube.isel(band=[0, 1]).to_numpy().repeat(2, axis=1).repeat(2, axis=2) * 1000
    msi = xr.DataArray(fine, dims=("band", "y", "x"))
    msi = attach(msi, crs=32632, transform=Affine(15, 0, 500000, 0, -15, 4649000))
    for name, image in (("lr", cube), ("msi", msi)):
        save_cube(image, tmp_path / f"{name}.tif")
    file = MsiFile(tmp_path / "msi.tif", 1000.0)
    predict_file(tmp_path / "lr.tif", tmp_path / "hr.tif", model="x", tile=64, overlap=8, full_scale=1.0, msi=file)
    client = serve(Fusion())
    parts = {name: (tmp_path / f"{name}.tif").read_bytes() for name in ("lr", "msi")}
    body, headers = form(**parts)
    status, _, answer = client.ask("POST", "/predict?msi_full_scale=1000", body, headers)
    assert status == 200, answer
    (tmp_path / "answer.tif").write_bytes(answer)
    given, result = (open_cube(tmp_path / name).compute() for name in ("answer.tif", "hr.tif"))
    xr.testing.assert_identical(without_provenance(given), without_provenance(result))
    for wrong, message in (
        ({"msi": parts["msi"]}, "Got the parts msi, expected lr"),
        ({**parts, "mask": b"x"}, "too many files|Too many files"),
        ({"lr": parts["lr"]}, "fuses the LR-HSI with an HR-MSI of 2 bands, but got none; send it as the part msi"),
        ({"lr": parts["lr"], "msi": parts["lr"]}, "an HR-MSI of 20 x 17 pixels|corners lie up to|HR-MSI of 4 bands"),
        ({"lr": parts["lr"], "msi": b"garbage"}, "msi begins like no known cube"),
    ):
        body, headers = form(**wrong)
        status, error = client.refused(body, "?msi_full_scale=1000", headers=headers)
        assert status in (400, 415)
        assert any(part in error for part in message.split("|")), error
    assert client.refused(b"--x", headers={"Content-Type": "multipart/form-data"})[0] == 400


def test_an_msi_of_other_values_names_its_own_parameter(serve, cube, tmp_path):
    body, headers = form(lr=npy(cube.to_numpy()), msi=npy(np.full((2, 40, 34), 7000, np.float32)))
    status, error = serve(Fusion()).refused(body, headers=headers)
    assert (status, error.endswith("for example msi_full_scale=10000.")) == (400, True)


LR = np.random.default_rng(0).random((4, 6, 5), dtype=np.float32)


@pytest.mark.parametrize(
    ("body", "query", "status", "message"),
    [
        (b"", "", 400, "Got an empty lr"),
        (b"garbage", "", 415, "begins like no known cube"),
        (npy(LR)[:-7], "", 400, "cannot be read as NumPy .npy"),
        (npy(LR * 1000), "", 400, "for example full_scale=10000."),
        (npy(LR[0]), "", 400, "a cube has 3 axes"),
        (npy(LR[None, None]), "", 400, "a cube has 3 axes"),
        (npy(LR[None][:0]), "", 400, "expected at least one image"),
        (npy(LR.astype(complex)), "", 400, "real numbers"),
        (npy(LR[None].astype(complex)), "", 400, "real numbers"),
        (npy(LR), "?variable=cube", 400, "no variables"),
        (npy(LR[None]), "?variable=cube", 400, "no variables"),
        (npy(LR), "?tile=0", 400, "tile must be at least 1"),
        (npy(LR), "?overlap=40", 400, "overlap (40) must be less than half of tile (64)"),
        (npy(LR), "?full_scale=nan", 400, "full_scale must be a positive number"),
        (npy(LR), "?full_scale=0", 400, "full_scale must be a positive number"),
        (npy(LR), "?fullscale=10", 400, "fullscale"),
        (npy(LR), "?tile=many", 400, "tile: Input should be a valid integer"),
        (b"PK\x03\x04garbage", "", 415, "begins like no known cube"),
        (b"CDF\x01garbage", "", 400, "cannot be read as classic NetCDF"),
        (b"II*\x00garbage", "", 400, "the file is incomplete, copy it again"),
    ],
)
def test_what_cannot_be_served_is_one_clear_line(bicubic, body, query, status, message):
    got, error = bicubic.refused(body, query)
    assert (got, message in error) == (status, True), error


def test_a_form_that_is_not_what_it_is_called_is_refused(bicubic):
    status, error = bicubic.refused(npy(LR), headers={"Content-Type": "image/tiff"})
    assert (status, error) == (400, "lr begins like NumPy .npy, but its Content-Type is image/tiff.")
    assert bicubic.ask("POST", "/predict", npy(LR), {"Content-Type": "application/x-npy; v=1"})[0] == 200


def test_other_paths_and_methods_say_what_there_is(bicubic):
    for method, path, expected in (("GET", "/predict", 405), ("GET", "/nowhere", 404), ("POST", "/health", 405)):
        status, _, body = bicubic.ask(method, path)
        assert status == expected
        assert "/predict (POST)" in json.loads(body)["error"]


def test_a_failure_of_the_server_itself_shows_nothing_of_its_inside(serve, caplog):
    class Broken(Bicubic):
        def predict(self, lr, *, msi=None, origin=(0, 0)):
            if lr.shape[1] == 4:
                raise RuntimeError("secret")
            return super().predict(lr)

    status, error = serve(Broken(2)).refused(npy(LR))
    assert (status, error) == (500, "The server failed; its log has the cause.")
    wait_until(lambda: "secret" in caplog.text)


class Sampler(Spreads, Bicubic):
    """Bicubic interpolation with samples."""


def test_a_statistic_of_samples_is_answered_like_a_prediction(serve):
    client = serve(Sampler(2))
    lr = np.random.default_rng(0).random((2, 4, 12, 10), dtype=np.float32)
    mean, _ = client.predict(lr, "?samples=8&guard=off")
    std, _ = client.predict(lr, "?samples=8&statistic=std&full_scale=10&guard=off")
    low, _ = client.predict(lr[0], "?samples=8&statistic=q0.05&guard=off")
    np.testing.assert_array_equal(mean, Sampler(2).predict(lr))
    np.testing.assert_allclose(std, 0.8)
    np.testing.assert_allclose(mean[0] - low, 2 * 1.8946 * 0.08, rtol=1e-3)


@pytest.mark.parametrize(
    ("query", "message"),
    [
        ("?statistic=std", "statistic=std without samples"),
        ("?samples=8&statistic=median", "expected mean, std, or a quantile"),
        ("?samples=1", "samples"),
        ("?samples=65", "samples"),
    ],
)
def test_statistics_that_there_are_not_are_refused(bicubic, query, message):
    status, error = bicubic.refused(npy(np.zeros((4, 12, 10), np.float32)), query)
    assert status == 400
    assert message in error
