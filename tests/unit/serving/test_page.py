"""The start page and the description in a real browser: a dropped cube, a wrong file, a narrow window."""

import base64
import re
import shlex
import shutil
import subprocess

import numpy as np
import pytest
import xarray as xr

from hsipipe.formats import open_cube, save_cube
from hsipipe.serving.descriptions import ModelDescription
from hsipipe.serving.limits import Limits
from hsipipe.serving.pages import start_page

from .conftest import Fusion, npy

pytestmark = pytest.mark.xdist_group("servers")

HOSTILE = "it's <img src=x onerror=alert(1)>; touch hacked.tif"
DROP = """([target, name, content]) => {
  const bytes = Uint8Array.from(atob(content), (letter) => letter.charCodeAt(0));
  const dataTransfer = new DataTransfer();
  dataTransfer.items.add(new File([bytes], name));
  const drop = new DragEvent("drop", { dataTransfer, bubbles: true, cancelable: true });
  document.querySelector(target).dispatchEvent(drop);
}"""

HOLD_FIRST_READ = """() => {
  const read = Blob.prototype.arrayBuffer;
  Blob.prototype.arrayBuffer = function () {
    Blob.prototype.arrayBuffer = read;
    return new Promise((done) => { window.release = async () => done(await read.call(this)); });
  };
}"""


@pytest.fixture
def tiff(tmp_path):
    """An LR cube (4, 6, 5) with wavelengths, as GeoTIFF."""
    values = np.random.default_rng(0).random((4, 6, 5), dtype=np.float32)
    cube = xr.DataArray(values, dims=("band", "y", "x"))
    path = tmp_path / "low.tif"
    save_cube(cube.assign_coords(wavelength_nm=("band", [450.0, 550.0, 650.0, 850.0])), path)
    return path


@pytest.fixture
def site(bicubic, monkeypatch):
    """Address of a bicubic server of scale 2, whose results have one date: two of the same cube have the same bytes."""
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "1700000000")
    return f"http://127.0.0.1:{bicubic.port}"


def drop(page, name, content, target="#drop"):
    page.evaluate(DROP, [target, name, base64.b64encode(content).decode()])


def answered(page):
    page.wait_for_selector("#answer:not([hidden])")
    page.locator("#picture-result").evaluate("image => image.decode()")


def downloaded(page):
    with page.expect_download() as download:
        page.click("#download")
    return download.value


def test_a_dropped_cube_is_predicted_shown_and_downloaded(bicubic, site, open_site, tiff, tmp_path):
    page = open_site(site)
    assert "scale 2" in page.title()
    drop(page, tiff.name, tiff.read_bytes())
    answered(page)
    assert page.inner_text("#size").startswith("4 bands of 12 x 10 pixels from 4 bands of 6 x 5 pixels, ")
    natural = "image => [image.naturalHeight, image.naturalWidth]"
    sizes = [page.locator(f"#picture-{part}").evaluate(natural) for part in ("input", "result")]
    assert sizes == [[6, 5], [12, 10]]
    colours = "true colour (650, 550, 450 nm): bands 3 (650 nm), 2 (550 nm), 1 (450 nm)"
    assert page.get_attribute("#picture-result", "alt") == f"Result of 4 bands of 12 x 10 pixels, {colours}"
    got = downloaded(page)
    assert got.suggested_filename == "low_x2.tif"
    got.save_as(tmp_path / "got.tif")
    assert (tmp_path / "got.tif").read_bytes() == bicubic.ask("POST", "/predict", tiff.read_bytes())[2]
    assert open_cube(tmp_path / "got.tif").shape == (4, 12, 10)


@pytest.mark.parametrize(
    ("name", "said"), [("pca-residual", "pca-residual version 3"), ("ours-x4", "pca-residual, ours-x4 version 3")]
)
def test_the_name_of_the_model_is_said_once(name, said):
    example = ModelDescription.model_config["json_schema_extra"]["example"]
    page = start_page(ModelDescription(**{**example, "name": name}), Limits()).body.decode()
    assert f">{said}; scale 4; " in page


def test_the_command_is_the_one_that_gives_the_same_file_whatever_its_name(bicubic, site, open_site, tiff, tmp_path):
    if shutil.which("curl") is None:
        pytest.skip("curl is not installed")
    page = open_site(site)
    drop(page, HOSTILE, tiff.read_bytes())
    answered(page)
    assert page.locator("img").count() == 2  # the name is text
    command = page.inner_text("#curl")
    assert shlex.split(command)[2:4] == ["--data-binary", f"@{HOSTILE}"]
    (tmp_path / HOSTILE.replace("/", "")).write_bytes(tiff.read_bytes())
    subprocess.run(["sh", "-c", command], cwd=tmp_path, check=True, capture_output=True, timeout=60)
    assert {path.name for path in tmp_path.iterdir()} == {"low.tif", HOSTILE, f"{HOSTILE.removesuffix('.tif')}_x2.tif"}
    expected = bicubic.ask("POST", "/predict", tiff.read_bytes())[2]
    assert (tmp_path / f"{HOSTILE.removesuffix('.tif')}_x2.tif").read_bytes() == expected


@pytest.mark.parametrize(
    ("first", "second"),
    [("it's; type=x, low.npy", 'a "quoted" \\ msi.npy'), ("-", "-low.npy"), ("low;1.npy", "$(id).npy")],
)
def test_the_command_of_a_fusion_sends_both_files_whatever_their_names(serve, open_site, tmp_path, first, second):
    if shutil.which("curl") is None:
        pytest.skip("curl is not installed")
    page = open_site(f"http://127.0.0.1:{serve(Fusion()).port}")
    rng = np.random.default_rng(0)
    lr, msi = rng.random((4, 6, 5), dtype=np.float32), rng.random((2, 12, 10), dtype=np.float32)
    for name, cube in ((first, lr), (second, msi)):
        drop(page, name, npy(cube))
        (tmp_path / name).write_bytes(npy(cube))
    answered(page)
    command = ["sh", "-c", page.inner_text("#curl")]
    subprocess.run(command, cwd=tmp_path, check=True, capture_output=True, timeout=60, stdin=subprocess.DEVNULL)
    (made,) = {path.name for path in tmp_path.iterdir()} - {first, second}
    assert made == page.get_attribute("#download", "download")
    np.testing.assert_array_equal(np.load(tmp_path / made), Fusion().predict(lr[None], msi=msi[None])[0])


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("notes.txt", b"no cube", "notes.txt is no NumPy .npy, classic NetCDF or GeoTIFF. Convert it in Python"),
        ("empty.npy", b"", "empty.npy is no NumPy .npy"),
        ("new.nc", b"\x89HDF\r\n\x1a\n", "new.nc is NetCDF-4 or HDF5; convert it: nccopy -k nc6"),
    ],
)
def test_a_wrong_file_is_named_before_anything_is_sent(site, open_site, tiff, name, content, message):
    page = open_site(site)
    drop(page, tiff.name, tiff.read_bytes())
    answered(page)
    sent = []
    page.on("request", lambda request: sent.append(request.url))
    drop(page, name, content)
    page.wait_for_selector("#problem:not(:empty)")
    assert page.inner_text("#problem").startswith(message)
    assert page.get_by_role("alert").is_visible()
    assert not page.is_visible("#answer")
    assert name not in page.inner_text("#curl")
    assert sent == []


def test_a_refusal_of_the_server_is_shown_and_can_be_answered(site, open_site):
    page = open_site(site, refusals=(400,))
    lr = np.random.default_rng(0).random((4, 6, 5), dtype=np.float32) * 10000
    drop(page, "low.npy", npy(lr))
    page.wait_for_selector("#problem:not(:empty)")
    assert page.inner_text("#problem").endswith("for example full_scale=10000.")
    page.fill("#full_scale", "10000")
    assert "predict?full_scale=10000" in page.inner_text("#curl")
    page.click("#predict")
    answered(page)
    assert page.inner_text("#problem") == ""
    assert "false colour" in page.inner_text("#colours")


def test_a_batch_is_shown_by_its_first_image(bicubic, site, open_site):
    page = open_site(site)
    drop(page, "batch.npy", npy(np.random.default_rng(0).random((2, 3, 4, 4), dtype=np.float32)))
    answered(page)
    assert page.inner_text("#size").startswith("3 bands of 8 x 8 pixels")
    assert downloaded(page).suggested_filename == "batch_x2.npy"


def test_a_file_dropped_beside_the_field_does_not_replace_the_page(site, open_site, tiff):
    page = open_site(site)
    drop(page, tiff.name, tiff.read_bytes(), target="h1")
    assert page.url == f"{site}/"
    page.click("#predict")
    assert page.inner_text("#problem") == "Choose a cube first."


def test_a_fusion_model_asks_for_both_images(serve, open_site, tmp_path):
    client = serve(Fusion())
    page = open_site(f"http://127.0.0.1:{client.port}")
    rng = np.random.default_rng(0)
    lr, msi = rng.random((4, 6, 5), dtype=np.float32), rng.random((2, 12, 10), dtype=np.float32)
    drop(page, "low.npy", npy(lr))
    page.get_by_text("Chosen: low.npy").wait_for()
    drop(page, "msi.npy", npy(msi))
    answered(page)
    assert """-F 'lr=@"low.npy"' -F 'msi=@"msi.npy"'""" in page.inner_text("#curl")
    downloaded(page).save_as(tmp_path / "fused.npy")
    np.testing.assert_array_equal(np.load(tmp_path / "fused.npy"), Fusion().predict(lr[None], msi=msi[None])[0])


def test_no_pictures_after_pictures(site, open_site, tiff):
    page = open_site(site)
    drop(page, tiff.name, tiff.read_bytes())
    answered(page)
    assert page.get_by_text("Input", exact=True).is_visible()
    wide = np.random.default_rng(0).random((3, 2, 2050), dtype=np.float32)
    wide[:, 0] = np.nan  # a picture of so many columns has every second row
    drop(page, "wide.npy", npy(wide))
    page.get_by_text("Done: wide_x2.npy").wait_for()
    assert page.is_visible("#answer")
    assert "has no band with values" in page.inner_text("#colours")
    assert not page.get_by_text("Input", exact=True).is_visible()
    for part in ("input", "result"):
        assert page.get_attribute(f"#picture-{part}", "src") is None
        assert page.get_attribute(f"#picture-{part}", "alt") == ""


def test_a_slow_look_at_a_file_does_not_undo_the_next_choice(site, open_site, tiff):
    page = open_site(site)
    page.evaluate(HOLD_FIRST_READ)
    drop(page, "notes.txt", b"no cube")
    drop(page, tiff.name, tiff.read_bytes())
    answered(page)
    page.evaluate("async () => { await release(); await new Promise((done) => setTimeout(done)); }")
    assert page.inner_text("#problem") == ""
    assert page.is_visible("#answer")
    assert "@low.tif" in page.inner_text("#curl")
    page.click("#predict")
    answered(page)


@pytest.mark.parametrize("path", ["/", "/docs"])
def test_a_page_fits_into_a_narrow_window_and_names_its_parts(site, open_site, path, tiff):
    page = open_site(site, path, width=400)
    if path == "/":
        drop(page, tiff.name, tiff.read_bytes())
        answered(page)
    assert page.evaluate("document.documentElement.scrollWidth") <= 400
    unnamed = """() => [...document.querySelectorAll("input, button, a, img, pre, section")].filter((part) =>
      !(part.labels?.length || part.alt || part.textContent.trim() || part.getAttribute("aria-label")))
      .map((part) => part.id)"""
    assert page.evaluate(unnamed) == []
    assert page.get_attribute("html", "lang") == "en"


def test_the_interface_is_described_without_scripts(bicubic, site, open_site):
    page = open_site(site, "/docs", java_script_enabled=False)
    text = page.inner_text("main")
    for path, ways in bicubic.get("/openapi.json")[1]["paths"].items():
        for method, way in ways.items():
            section = page.get_by_role("region", name=f"{method.upper()}{path}", exact=True)
            assert section.locator("tbody th").all_inner_texts()[-len(way["responses"]) :] == list(way["responses"])
    assert "Smallest" not in text  # schemas are in openapi.json
    assert "Got the Origin 'http://other.example'" in text
    assert "full_scale" in text


@pytest.mark.parametrize("path", ["/", "/docs"])
def test_a_page_loads_nothing_and_runs_only_its_own_script(bicubic, path):
    status, headers, body = bicubic.ask("GET", path)
    html = body.decode()
    assert status == 200
    assert headers["Content-Type"] == "text/html; charset=utf-8"
    policy = dict(part.strip().split(" ", 1) for part in headers["Content-Security-Policy"].split(";"))
    assert policy["default-src"] == policy["form-action"] == policy["frame-ancestors"] == "'none'"
    assert policy["connect-src"] == "'self'"
    assert "unsafe" not in headers["Content-Security-Policy"]
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["Referrer-Policy"] == "no-referrer"
    loaded = re.findall(r'(?:src|href)="([^"]*)"', html)
    assert all(place.startswith(("data:", "#")) or not re.match(r"[a-z]+:|//", place) for place in loaded), loaded
