"""The pictures and numbers of a scene that the report shows."""

import numpy as np
import pytest

from hsipipe.degradation.bicubic import upsample
from hsipipe.errors import FileFormatError, MissingInputError
from hsipipe.evaluation.evidence import SceneEvidence, choose_detail, choose_pixels, display_bands


def test_evidence_holds_the_method_and_no_ceiling(folders, pair):
    scene = SceneEvidence.load(folders["bicubic"] / f"{pair.name}.npz")
    assert scene.rgb.shape == (1, 48, 48, 3)
    assert scene.lr_rgb.shape == (12, 12, 3)
    assert len(SceneEvidence.load(folders["dmgasr"] / f"{pair.name}.npz").rgb) == 1
    sr = np.clip(upsample(pair.lr, 4), 0, 1)
    assert np.allclose(scene.error[0], np.abs(sr - pair.hr).mean(axis=0), atol=1e-3)
    y, x = scene.pixels[2]
    assert np.array_equal(scene.hr_spectra[2], pair.hr[:, y, x])
    assert np.array_equal(scene.spectra[0, 2], sr[:, y, x])
    assert scene.wavelength_nm[scene.display_bands] == pytest.approx([650, 550, 450], abs=20)


def test_rows_are_put_together_in_their_order(folders, pair):
    scenes = [SceneEvidence.load(folder / f"{pair.name}.npz") for folder in folders.values()]
    together = SceneEvidence.together(scenes)
    assert len(together.rgb) == len(together.spectra) == len(together.band_psnr_db) == len(folders)
    for number, scene in enumerate(scenes):
        assert np.array_equal(together.error[number], scene.error[0])
    assert together.spread_rows.size == 0


def test_spreads_keep_their_rows(scored, net, folders, pair):
    folder, _ = scored(net(varied=True))
    places = [folders["bicubic"], folder, folders["pca-residual"], folder]
    together = SceneEvidence.together([SceneEvidence.load(place / f"{pair.name}.npz") for place in places])
    assert together.spread_rows.tolist() == [1, 3]
    assert together.width.shape == (2, 48, 48)
    assert together.sample_power.shape == (2, len(together.frequency))


def test_missing_or_damaged_evidence_names_what_to_run(tmp_path):
    with pytest.raises(MissingInputError, match="run the stage evaluate"):
        SceneEvidence.load(tmp_path / "scene.npz")
    (tmp_path / "scene.npz").write_bytes(b"PK nonsense")
    with pytest.raises(FileFormatError, match="no scene evidence"):
        SceneEvidence.load(tmp_path / "scene.npz")


@pytest.mark.parametrize(
    ("wavelength_nm", "expected"),
    [
        (np.arange(400.0, 701, 10), [25, 15, 5]),
        (np.linspace(900, 1700, 31), [25, 15, 5]),
        (None, [25, 15, 5]),
        (np.linspace(400, 4000, 31), [25, 15, 5]),
    ],
)
def test_display_bands_are_red_green_blue_or_spread(wavelength_nm, expected):
    assert display_bands(31, wavelength_nm) == expected


def test_one_band_can_be_shown():
    assert display_bands(1, None) == [0, 0, 0]


def test_chosen_pixels_and_detail_follow_the_truth():
    hr = np.full((3, 40, 40), 0.5, np.float32)
    hr[:, :8] = 0.9
    hr[:, 30:, :20] = 0.1
    hr[:, 16:26:2, 22:32] = 0.6
    bright, median, dark, textured = choose_pixels(hr)
    assert hr[0, *bright] == np.float32(0.9)
    assert hr[0, *median] == np.float32(0.5)
    assert hr[0, *dark] == np.float32(0.1)
    assert textured[0] in (7, 8, 29, 30)
    y, x, height, width = choose_detail(hr)
    assert (height, width) == (10, 10)
    assert 14 <= y <= 18
    assert 20 <= x <= 24
