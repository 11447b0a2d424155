"""Scenes that arrive: the fit ones are taken in, the others stand aside with a reason, and nothing is lost."""

import json
import os
import time
from dataclasses import replace

import numpy as np
import pytest
import xarray as xr

from hsipipe import save_cube
from hsipipe.datasets import inbox as module
from hsipipe.datasets.admission import Fit
from hsipipe.datasets.inbox import QUARANTINE, REASON, scenes_differ, take_in
from hsipipe.datasets.prepare import prepare_scenes
from hsipipe.errors import DataError, MissingInputError, ParamsError
from hsipipe.params import PatchesParams

PATCHES = PatchesParams(size=8, stride=8, shard=1, least_valid=0.5)
FIT = Fit(scale=4, crop_remainder=False, patches=PATCHES, uses_msi=True)
NM = np.linspace(450, 700, 4)


@pytest.fixture
def inbox(tmp_path):
    folder = tmp_path / "inbox"
    folder.mkdir()
    return folder


@pytest.fixture
def dataset(make_params, tmp_path):
    return make_params("dataset", name="folder", root=str(tmp_path / "scenes"))


@pytest.fixture
def root(tmp_path):
    return tmp_path / "scenes"


def cube(seed, *, bands=4, size=(16, 16), nm=NM, factor=1.0):
    values = np.random.default_rng(seed).random((bands, *size), dtype=np.float32) * np.float32(factor)
    coords = {} if nm is None else {"band": np.arange(bands), "wavelength_nm": ("band", nm)}
    return xr.DataArray(values, dims=("band", "y", "x"), coords=coords)


def arrive(inbox, name, image, *, age_s=120.0):
    path = inbox / name
    if name.endswith(".img"):
        header = ["ENVI", f"samples = {image.shape[2]}", f"lines = {image.shape[1]}", f"bands = {image.shape[0]}"]
        header += ["data type = 4", "interleave = bsq", "byte order = 0"]
        header += [f"wavelength = {{{', '.join(map(str, NM))}}}", "wavelength units = nm"]
        path.with_suffix(".hdr").write_text("\n".join(header) + "\n", encoding="utf-8")
        image.to_numpy().tofile(path)
    else:
        save_cube(image, path)
    then = time.time() - age_s
    for entry in [*inbox.rglob("*")]:
        os.utime(entry, (then, then))
    return path


def outcomes(arrivals):
    return {arrival.name: arrival.outcome for arrival in arrivals}


def left(inbox):
    return sorted(entry.name for entry in inbox.iterdir() if entry.name != QUARANTINE)


def test_fit_scenes_of_any_format_are_taken_in(inbox, dataset, root, tmp_path):
    arrive(inbox, "a.nc", cube(0))
    arrive(inbox, "b.zarr", cube(1))
    arrive(inbox, "c.img", cube(2))
    assert outcomes(take_in(inbox, dataset, fit=FIT, quiet_s=60)) == {"a": "new", "b": "new", "c": "new"}
    assert left(inbox) == []
    (tmp_path / "raw").mkdir()
    assert prepare_scenes(dataset, tmp_path / "raw")["scenes"] == 3


def test_a_scene_that_arrives_again_is_known_and_one_with_other_values_changes_it(inbox, dataset, root):
    arrive(inbox, "a.nc", cube(0))
    take_in(inbox, dataset, fit=FIT, quiet_s=60)
    before = (root / "a.nc").read_bytes()
    (inbox / "a.nc").write_bytes(before)
    os.utime(inbox / "a.nc", (0, 0))
    assert outcomes(take_in(inbox, dataset, fit=FIT, quiet_s=60)) == {"a": "known"}
    arrive(inbox, "a.tif", cube(5))
    assert outcomes(take_in(inbox, dataset, fit=FIT, quiet_s=60)) == {"a": "changed"}
    assert sorted(entry.name for entry in root.iterdir()) == ["a.tif"]
    assert left(inbox) == []


@pytest.mark.parametrize(
    ("name", "image", "reason"),
    [
        ("b.nc", cube(1, bands=3, nm=NM[:3]), "different bands"),
        ("b.nc", cube(1, nm=NM + 30), "different bands or wavelengths"),
        ("b.nc", cube(1, size=(18, 16)), "remainder"),
        ("b.nc", cube(1, size=(4, 16)), "expected at least 8"),
        ("b.nc", cube(1, factor=10_000), "full_scale"),
        ("b.nc", cube(1, factor=1e-5), "full_scale"),
        ("b.nc", cube(1).where(lambda c: c < 0.99, np.inf), "infinite"),
        ("b.nc", cube(1).where(lambda c: c < 0.01), "have data in every band"),
        ("b.nc", cube(1).where(cube(1).y % 8 == 0), "no patch of 8 x 8 pixels with data in 50% of them"),
        ("b.nc", cube(0), "same bytes as scene 'a'"),
    ],
)
def test_a_bad_scene_stands_aside_with_its_reason(inbox, dataset, root, name, image, reason):
    arrive(inbox, "a.nc", cube(0))
    take_in(inbox, dataset, fit=FIT, quiet_s=60)
    if "same bytes" in reason:
        (inbox / name).write_bytes((root / "a.nc").read_bytes())
        os.utime(inbox / name, (0, 0))
    else:
        arrive(inbox, name, image)
    (arrival,) = take_in(inbox, dataset, fit=FIT, quiet_s=60)
    assert arrival.outcome == "quarantined"
    assert reason in arrival.reason
    assert left(inbox) == []
    assert sorted(entry.name for entry in root.iterdir()) == ["a.nc"]
    (aside,) = (inbox / QUARANTINE).iterdir()
    assert sorted(entry.name for entry in aside.iterdir()) == ["b.nc", REASON]
    assert json.loads((aside / REASON).read_text(encoding="utf-8"))["reason"] == arrival.reason


def test_a_scene_with_pixels_without_data_is_ingested(inbox, dataset):
    arrive(inbox, "a.nc", cube(0))
    take_in(inbox, dataset, fit=FIT, quiet_s=60)
    image = cube(1)
    image[:, 3:6, 2:9] = np.nan
    arrive(inbox, "b.nc", image)
    assert outcomes(take_in(inbox, dataset, fit=FIT, quiet_s=60)) == {"b": "new"}
    assert left(inbox) == []


@pytest.mark.parametrize(("uses_msi", "outcome"), [(True, "quarantined"), (False, "new")])
def test_holes_of_the_msi_count_where_the_pipeline_uses_it(inbox, dataset, uses_msi, outcome):
    msi = cube(1, bands=2, nm=NM[:2])
    msi[:, :, 4:12] = np.nan
    msi[:, 4:12] = np.nan
    arrive(inbox, "a.nc", cube(0))
    arrive(inbox, "a_msi.nc", msi)
    (arrival,) = take_in(inbox, dataset, fit=replace(FIT, uses_msi=uses_msi), quiet_s=60)
    assert arrival.outcome == outcome
    assert ("the best has 25%" in arrival.reason) == uses_msi


def test_a_truncated_file_and_two_of_one_name_stand_aside(inbox, dataset):
    whole = arrive(inbox, "a.tif", cube(0)).read_bytes()
    (inbox / "a.tif").write_bytes(whole[: len(whole) // 2])
    arrive(inbox, "b.nc", cube(1))
    arrive(inbox, "b.npy", cube(2, nm=None))
    arrivals = take_in(inbox, dataset, fit=FIT, quiet_s=60)
    assert outcomes(arrivals) == {"a": "quarantined", "b": "quarantined"}
    assert "incomplete" in arrivals[0].reason
    assert "was delivered twice, as b.nc and b.npy" in arrivals[1].reason
    assert left(inbox) == []


def test_a_link_is_refused_and_what_it_points_at_stays(inbox, dataset, tmp_path):
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    target = arrive(elsewhere, "secret.nc", cube(0))
    (inbox / "a.nc").symlink_to(target)
    (arrival,) = take_in(inbox, dataset, fit=FIT, quiet_s=60)
    assert arrival.outcome == "quarantined"
    assert "is a symbolic link" in arrival.reason
    assert target.is_file()


def test_a_file_that_may_still_be_written_is_left_alone(inbox, dataset, root):
    arrive(inbox, "a.nc", cube(0), age_s=5)
    (arrival,) = take_in(inbox, dataset, fit=FIT, quiet_s=60)
    assert arrival.outcome == "waiting"
    assert left(inbox) == ["a.nc"]
    assert list(root.iterdir()) == []


@pytest.mark.parametrize("step", ["copy", "drop", "leave"])
def test_killed_in_between_the_same_call_comes_to_the_same_end(inbox, dataset, root, monkeypatch, step):
    arrive(inbox, "a.nc", cube(0))
    take_in(inbox, dataset, fit=FIT, quiet_s=60)
    arrive(inbox, "a.img", cube(7))

    class Killed(BaseException):
        pass

    with monkeypatch.context() as patch:
        if step == "copy":  # after the data, before the header
            real = module.shutil.copyfile

            def copy(source, target):
                if str(source).endswith(".hdr"):
                    raise Killed
                return real(source, target)

            patch.setattr(module.shutil, "copyfile", copy)
        else:

            def die(*_args):
                raise Killed

            patch.setattr(module, {"drop": "_drop_others", "leave": "_clear_inbox"}[step], die)
        with pytest.raises(Killed):
            take_in(inbox, dataset, fit=FIT, quiet_s=60)
    take_in(inbox, dataset, fit=FIT, quiet_s=60)
    assert left(inbox) == []
    assert sorted(entry.name for entry in root.iterdir()) == ["a.hdr", "a.img"]
    expected = cube(7).to_numpy()
    assert np.array_equal(np.fromfile(root / "a.img", np.float32).reshape(expected.shape), expected)


def test_an_msi_travels_with_its_scene_and_stays_when_the_scene_alone_changes(inbox, dataset, root):
    arrive(inbox, "a.nc", cube(0))
    arrive(inbox, "a_msi.nc", cube(1, bands=2, nm=NM[:2]))
    assert outcomes(take_in(inbox, dataset, fit=FIT, quiet_s=60)) == {"a": "new"}
    assert sorted(entry.name for entry in root.iterdir()) == ["a.nc", "a_msi.nc"]
    arrive(inbox, "a.nc", cube(3, size=(24, 16)))
    (arrival,) = take_in(inbox, dataset, fit=FIT, quiet_s=60)
    assert arrival.outcome == "quarantined"
    assert "one grid" in arrival.reason
    arrive(inbox, "a.nc", cube(3))
    assert outcomes(take_in(inbox, dataset, fit=FIT, quiet_s=60)) == {"a": "changed"}
    assert (root / "a_msi.nc").is_file()


def test_the_quarantine_is_no_scene(inbox, dataset, write_scene):
    write_scene(inbox / QUARANTINE / "balloons_ms")
    assert take_in(inbox, dataset, fit=FIT, quiet_s=0) == []


def test_an_inbox_that_is_not_there_is_an_error(inbox, dataset):
    with pytest.raises(MissingInputError, match=r"inbox\.path"):
        take_in(inbox / "nowhere", dataset, fit=FIT, quiet_s=60)


def test_a_change_in_the_root_shows(inbox, dataset, root, tmp_path):
    from hsipipe.artifacts import RawScenes

    arrive(inbox, "a.nc", cube(0))
    take_in(inbox, dataset, fit=FIT, quiet_s=60)
    raw = RawScenes(tmp_path / "raw")
    raw.path.mkdir()
    prepare_scenes(dataset, raw.path)
    assert not scenes_differ(dataset, raw.index()["scenes"])
    arrive(inbox, "b.nc", cube(1))
    take_in(inbox, dataset, fit=FIT, quiet_s=60)
    assert scenes_differ(dataset, raw.index()["scenes"])


@pytest.mark.parametrize("where", [".", "below", ".."])
def test_an_inbox_that_is_the_root_or_lies_in_it_or_around_it_is_refused_and_nothing_is_lost(root, dataset, where):
    root.mkdir()
    kept = arrive(root, "a.nc", cube(0))
    inbox = root / where
    inbox.mkdir(exist_ok=True)
    with pytest.raises(ParamsError, match="two separate folders"):
        take_in(inbox, dataset, fit=FIT, quiet_s=0)
    assert kept.is_file()


def test_a_bad_arrival_harms_neither_version_of_a_replacement_that_was_killed(inbox, dataset, root):
    arrive(inbox, "a.nc", cube(0))
    take_in(inbox, dataset, fit=FIT, quiet_s=60)
    arrive(root, "a.tif", cube(1))
    arrive(inbox, "a.npy", cube(2, bands=3, nm=None))
    with pytest.raises(DataError, match="Scene 'a' is in"):
        take_in(inbox, dataset, fit=FIT, quiet_s=60)
    assert sorted(entry.name for entry in root.iterdir()) == ["a.nc", "a.tif"]


def test_an_msi_in_another_format_takes_the_place_of_the_old_one(inbox, dataset, root):
    arrive(inbox, "a.nc", cube(0))
    arrive(inbox, "a_msi.nc", cube(1, bands=2, nm=NM[:2]))
    take_in(inbox, dataset, fit=FIT, quiet_s=60)
    arrive(inbox, "a.nc", cube(0))
    arrive(inbox, "a_msi.zarr", cube(2, bands=2, nm=NM[:2]))
    assert outcomes(take_in(inbox, dataset, fit=FIT, quiet_s=60)) == {"a": "changed"}
    assert sorted(entry.name for entry in root.iterdir()) == ["a.nc", "a_msi.zarr"]
    assert left(inbox) == []


def test_a_pair_of_which_one_is_bad_stands_aside_whole(inbox, dataset):
    arrive(inbox, "a.nc", cube(0))
    arrive(inbox, "a_msi.zarr", cube(1, bands=2, size=(8, 8), nm=NM[:2]))
    (arrival,) = take_in(inbox, dataset, fit=FIT, quiet_s=60)
    assert "one grid" in arrival.reason
    (aside,) = (inbox / QUARANTINE).iterdir()
    assert sorted(entry.name for entry in aside.iterdir()) == ["a.nc", "a_msi.zarr", REASON]


def test_an_msi_that_comes_after_its_scene_is_told_so(inbox, dataset):
    arrive(inbox, "a.nc", cube(0))
    take_in(inbox, dataset, fit=FIT, quiet_s=60)
    arrive(inbox, "a_msi.nc", cube(1, bands=2, nm=NM[:2]))
    (arrival,) = take_in(inbox, dataset, fit=FIT, quiet_s=60)
    assert "multispectral image of scene 'a'" in arrival.reason


def test_a_damaged_scene_at_hand_is_named_and_no_arrival_suffers_for_it(inbox, dataset, root):
    arrive(inbox, "a.nc", cube(0))
    take_in(inbox, dataset, fit=FIT, quiet_s=60)
    whole = (root / "a.nc").read_bytes()
    (root / "a.nc").write_bytes(whole[: len(whole) // 2])
    arrive(inbox, "b.nc", cube(1))
    with pytest.raises(ValueError, match=r"scenes/a\.nc"):
        take_in(inbox, dataset, fit=FIT, quiet_s=60)
    assert left(inbox) == ["b.nc"]


def test_what_stands_aside_already_is_not_replaced(inbox, dataset):
    for seed in (0, 1):
        arrive(inbox, "a.nc", cube(seed, size=(4, 4)))
        take_in(inbox, dataset, fit=FIT, quiet_s=60)
    assert len(list((inbox / QUARANTINE).iterdir())) == 2


def test_a_band_that_is_dropped_may_hold_anything(inbox, make_params, root):
    folder = make_params("dataset").folder.model_copy(update={"drop_bands": [2]})
    dataset = make_params("dataset", name="folder", root=str(root)).model_copy(update={"folder": folder})
    image = cube(0)
    image[1] = 1e9
    arrive(inbox, "a.nc", image)
    assert outcomes(take_in(inbox, dataset, fit=FIT, quiet_s=60)) == {"a": "new"}


def test_what_is_no_cube_stays_and_is_told(inbox, dataset):
    (inbox / "notes.txt").write_text("for you", encoding="utf-8")
    arrive(inbox, "a.img", cube(0))
    (inbox / "a.hdr").unlink()
    assert outcomes(take_in(inbox, dataset, fit=FIT, quiet_s=60)) == {"a.img": "waiting", "notes.txt": "waiting"}
    assert left(inbox) == ["a.img", "notes.txt"]
