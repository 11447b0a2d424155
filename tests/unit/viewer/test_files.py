"""The page of `hsipipe view`: what it holds, and what is refused."""

import base64
import hashlib
import re

import numpy as np
import pytest
from affine import Affine
from embedded_scenes import layer, map_of, scenes
from viewer_files import BANDS, NM, SCALE, SIZE, as_cube, smooth

from hsipipe.degradation.bicubic import upsample
from hsipipe.errors import DataError, MissingInputError
from hsipipe.formats import open_cube, save_cube
from hsipipe.formats.georeference import attach
from hsipipe.viewer.files import view_files
from hsipipe.viewer.maps import angle_map, error_map


def only_scene(page):
    (tree,) = scenes(page).values()
    return tree


def test_the_spectra_in_the_page_are_those_of_the_files(files):
    tree = only_scene(view_files([files["low"], files["ours"]], truth=files["truth"]))
    for name in ("low", "ours", "truth"):
        entry, values = layer(tree, name)
        cube = open_cube(files[name]).to_numpy()
        apart = np.abs(values - cube)
        assert apart.max() <= entry["error"][1] * 1.01
        assert apart.max() < 0.02 * np.ptp(cube)
        assert np.sqrt(np.square(apart).mean()) == pytest.approx(entry["error"][0], rel=0.01)
        np.testing.assert_allclose(entry["wavelength"], NM, atol=1e-3)
    assert [entry["name"] for entry in tree["layers"]] == ["low", "bicubic of low", "ours", "truth"]
    assert (tree["baseline"], tree["truth"], tree["left"], tree["right"]) == (1, 3, 0, 2)


def test_the_maps_compare_with_the_truth_and_with_bicubic(files):
    tree = only_scene(view_files([files["low"], files["ours"]], truth=files["truth"]))
    truth, ours, low = (open_cube(files[name]).to_numpy() for name in ("truth", "ours", "low"))
    for name, cube in {"ours": ours, "bicubic of low": upsample(low, SCALE)}.items():
        for kind, function in (("sam", angle_map), ("error", error_map)):
            expected = function(cube, truth)
            np.testing.assert_allclose(map_of(tree, kind, name), expected, atol=expected.max() / 500)
    assert {entry["of"] for entry in tree["maps"]} == {1, 2}
    assert len({entry["top"] for entry in tree["maps"] if entry["kind"] == "sam"}) == 1


def test_without_an_lr_cube_the_first_is_the_baseline(files):
    tree = only_scene(view_files([files["ours"]], truth=files["truth"]))
    assert tree["layers"][tree["baseline"]]["name"] == "ours"


def test_a_cube_alone_has_no_maps(files):
    tree = only_scene(view_files([files["low"]]))
    assert (tree["maps"], tree["truth"], tree["baseline"]) == ([], None, None)


def test_the_policy_admits_the_script_and_the_style_of_the_page_alone(files):
    page = view_files([files["low"]])
    (policy,) = re.findall(r'http-equiv="Content-Security-Policy" content="([^"]*)"', page)
    policy = policy.replace("&#39;", "'")
    assert policy.startswith("default-src 'none';")
    for tag in ("script", "style"):
        (text,) = re.findall(f"<{tag}>(.*?)</{tag}>", page, flags=re.DOTALL)
        digest = base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
        assert f"{tag}-src 'sha256-{digest}'" in policy
    assert "unsafe" not in policy
    assert "://" not in page
    assert " style=" not in page
    assert not re.search(r"<[^>]+\son\w+=", page.partition("<script>")[0])


def test_names_of_files_are_text_and_not_markup(files, tmp_path):
    hostile = tmp_path / "<script>alert(1)<script> & '\"--><!--.nc"
    files["ours"].rename(hostile)
    page = view_files([files["low"], hostile], truth=files["truth"])
    assert "<script>alert" not in page
    assert "--><!--" not in page
    assert [entry["name"] for entry in only_scene(page)["layers"]][2] == hostile.stem


def test_a_large_scene_is_thinned_and_the_page_says_so(files, tmp_path):
    page = view_files([files["low"], files["ours"]], truth=files["truth"])
    truth = smooth(bands=4, size=600)
    save_cube(as_cube(truth, None), tmp_path / "large.nc")
    save_cube(as_cube(truth[:, ::4, ::4], None), tmp_path / "coarse.nc")
    save_cube(as_cube(truth[:, ::3, ::3], None), tmp_path / "third.nc")
    tree = only_scene(view_files([tmp_path / "coarse.nc", tmp_path / "third.nc"], truth=tmp_path / "large.nc"))
    assert (tree["every"], tree["height"]) == (2, 300)
    assert "600 x 600 pixels; only each 2nd row and column" in tree["notes"][0]
    for name, expected in (("large", truth[:, ::2, ::2]), ("coarse", truth[:, ::4, ::4])):
        entry, values = layer(tree, name)
        np.testing.assert_allclose(values, expected, atol=1.01 * entry["error"][1])
    # Every second row of the truth lies in rows 0, 0, 1, 2, 2, ... of the third one.
    entry, values = layer(tree, "third")
    rows = np.arange(0, 600, 2) // 3
    np.testing.assert_allclose(values, truth[:, ::3, ::3][:, rows][:, :, rows], atol=1.01 * entry["error"][1])
    assert "only each" not in page


def test_a_page_stays_below_its_limit(tmp_path):
    random = np.random.default_rng(0)
    save_cube(as_cube(random.random((6, 200, 200)).astype(np.float32), None), tmp_path / "noise.nc")
    fine = view_files([tmp_path / "noise.nc"])
    for limit in (400_000, 150_000):
        page = view_files([tmp_path / "noise.nc"], most_bytes=limit)
        assert len(page.encode()) <= limit < len(fine)
    assert only_scene(page)["every"] > 1
    with pytest.raises(DataError, match="show fewer at a time"):
        view_files([tmp_path / "noise.nc"], most_bytes=10_000)


def test_bad_and_missing_bands_and_pixels_are_left_out(tmp_path):
    values = smooth()
    values[3] = np.nan
    values[5] = 0.25
    values[:, 2, 4] = np.nan
    save_cube(as_cube(values).assign_attrs(bad_bands=[8]), tmp_path / "a.nc")
    tree = only_scene(view_files([tmp_path / "a.nc"]))
    entry, shown = layer(tree, "a")
    assert entry["bad"] == [3, 5, 7]
    assert not {3, 5, 7} & {band for way in tree["colours"] for band in way["bands"][0]}
    assert np.isnan(shown[0]).sum() == np.isnan(shown[0, 2, 4]) == 1
    good = [band for band in range(BANDS) if band not in entry["bad"]]
    np.testing.assert_allclose(shown[good], values[good], atol=1.01 * entry["error"][1])
    assert "3 of 12 bands are bad or empty" in tree["notes"][0]


def test_colours_go_by_wavelength_in_any_order_of_the_bands(tmp_path):
    order = np.random.default_rng(0).permutation(BANDS)
    save_cube(as_cube(smooth()[order], NM[order]), tmp_path / "a.nc")
    save_cube(as_cube(smooth(bands=5), None), tmp_path / "b.nc")
    first, infrared = only_scene(view_files([tmp_path / "a.nc"]))["colours"]
    assert NM[order][first["bands"][0]] == pytest.approx([650, 550, 450], abs=20)
    assert NM[order][infrared["bands"][0]] == pytest.approx([860, 650, 550], abs=20)
    (spread,) = only_scene(view_files([tmp_path / "b.nc"]))["colours"]
    assert spread["bands"] == [[3, 2, 1]]


@pytest.mark.parametrize(
    ("other", "nm", "text"),
    [
        (smooth(size=20), NM, "24 x 24: expected the same ground at a whole ratio"),
        (smooth()[:, :12], NM, "whole ratio of pixel sizes, equal in both directions"),
        (smooth(bands=5), None, "5 bands of unknown wavelengths, and another cube 12"),
        (10000 * smooth(), NM, "expected the same units"),
        (np.full((BANDS, SIZE, SIZE), np.nan, np.float32), NM, "no pixel with a value"),
    ],
)
def test_cubes_that_do_not_fit_are_named_with_what_to_do(files, tmp_path, other, nm, text):
    save_cube(as_cube(other, nm), tmp_path / "other.nc")
    with pytest.raises(DataError, match=text) as caught:
        view_files([files["ours"], tmp_path / "other.nc"])
    assert "other.nc" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_the_truth_has_the_finest_grid(files):
    with pytest.raises(DataError, match="the truth must have the finest grid"):
        view_files([files["ours"]], truth=files["low"])


def test_one_file_twice_and_one_that_is_missing(files, tmp_path):
    with pytest.raises(DataError, match="named twice"):
        view_files([files["ours"], files["ours"]])
    with pytest.raises(MissingInputError):
        view_files([tmp_path / "nothing.nc"])


def test_files_of_one_name_are_told_apart(files, tmp_path):
    (other := tmp_path / "other").mkdir()
    save_cube(open_cube(files["ours"]), other / "ours.nc")
    save_cube(open_cube(files["ours"]), tmp_path / "ours.tif")
    tree = only_scene(view_files([files["ours"], tmp_path / "ours.tif", other / "ours.nc"]))
    assert [entry["name"] for entry in tree["layers"]] == ["ours", "ours.tif", "ours.nc"]


@pytest.mark.parametrize(
    ("shift", "code", "text"),
    [(0, 32632, None), (30, 32632, "pixels of the coarser"), (0, 32633, "coordinate systems")],
)
def test_cubes_with_positions_lie_at_the_same_place(tmp_path, shift, code, text):
    fine = attach(as_cube(smooth()), crs=32632, transform=Affine(5, 0, 500000, 0, -5, 4649000))
    coarse = attach(as_cube(smooth(size=SIZE // 4)), crs=code, transform=Affine(20, 0, 500000 + shift, 0, -20, 4649000))
    for name, cube in {"fine.tif": fine, "coarse.tif": coarse}.items():
        save_cube(cube, tmp_path / name)
    paths = [tmp_path / "coarse.tif", tmp_path / "fine.tif"]
    if text is None:
        assert len(only_scene(view_files(paths))["layers"]) == 2
        return
    with pytest.raises(DataError, match=text):
        view_files(paths)


def test_cubes_of_other_bands_meet_by_wavelength(files, tmp_path):
    save_cube(as_cube(smooth(bands=4), [480.0, 560.0, 660.0, 830.0]), tmp_path / "msi.nc")
    tree = only_scene(view_files([files["ours"], tmp_path / "msi.nc"], truth=files["truth"]))
    assert [entry["bands"] for entry in tree["layers"]] == [12, 4, 12]
    assert any("msi has 4 bands of 24 x 24, the truth 12" in note for note in tree["notes"])
