"""The viewer in a real browser: swipe, click, sliders, keys; nothing is logged and nothing is loaded."""

import numpy as np
import pytest
from embedded_scenes import scenes

from hsipipe.degradation.bicubic import upsample
from hsipipe.formats import open_cube
from hsipipe.viewer.files import view_files

HOSTILE = '<img src=x onerror="window.hacked=1"><script>window.hacked=1<script>'


@pytest.fixture(scope="module")
def page_file(tmp_path_factory):
    """A page of an LR cube, a prediction with a hostile name, and the truth."""
    from viewer_files import write_files

    folder = tmp_path_factory.mktemp("page")
    files = write_files(folder)
    files["ours"] = files["ours"].rename(folder / f"{HOSTILE}.nc")
    page = folder / "view.html"
    page.write_text(view_files([files["low"], files["ours"]], truth=files["truth"]), encoding="utf-8")
    return page, files


@pytest.fixture
def page(open_page, page_file):
    page = open_page(page_file[0])
    page.wait_for_selector(".viewer[data-state=ready]")
    return page


def values(page):
    """The numbers of the table by cube."""
    rows = page.locator(".values tbody tr").all()
    return {
        row.locator("th").inner_text().strip(): [cell.inner_text() for cell in row.locator("td").all()] for row in rows
    }


def colours(page, side):
    """The pixels of the left (1) or right (0) picture, as the canvas holds them (h, w, 4)."""
    data = page.evaluate(
        """side => { const c = document.querySelectorAll(".stage canvas")[side];
        const copy = new OffscreenCanvas(c.width, c.height).getContext("2d", { willReadFrequently: true });
        copy.drawImage(c, 0, 0);
        return [c.height, c.width, Array.from(copy.getImageData(0, 0, c.width, c.height).data)]; }""",
        side,
    )
    return np.asarray(data[2]).reshape(data[0], data[1], 4)


def test_a_click_shows_the_spectra_of_all_cubes_and_the_truth(page, page_file):
    stage = page.locator(".stage")
    box = stage.bounding_box()
    row, column = 5, 19
    stage.click(position={"x": box["width"] * (column + 0.5) / 24, "y": box["height"] * (row + 0.5) / 24})
    caption = page.locator(".values caption").inner_text()
    assert caption.startswith(f"Pixel in row {row}, column {column}; value in band 7 of 12")
    found = values(page)
    low, truth = (open_cube(page_file[1][name]).to_numpy() for name in ("low", "truth"))
    tree = next(iter(scenes(page_file[0].read_text(encoding="utf-8")).values()))
    error = max(entry["error"][1] for entry in tree["layers"])
    assert float(found["low"][0]) == pytest.approx(low[6, row // 4, column // 4], abs=error + 1e-3)
    assert float(found["truth"][0]) == pytest.approx(truth[6, row, column], abs=error + 1e-3)
    up = upsample(low, 4)[:, row, column]
    assert float(found["bicubic of low"][2]) == pytest.approx(
        np.abs(up - truth[:, row, column]).mean(), rel=0.05, abs=1e-3
    )
    assert list(found) == ["low", "bicubic of low", HOSTILE, "truth"]
    # The prediction is nearer to the truth than the interpolation, by four fifths of its error.
    assert float(found[HOSTILE][3]) == pytest.approx(0.8 * float(found["bicubic of low"][2]), rel=0.1, abs=1e-3)
    assert page.locator(".plot path").count() == 4


def test_the_divider_is_dragged_moved_by_its_slider_and_by_keys(page):
    stage, swipe = page.locator(".stage"), page.get_by_label("Divider between left and right")
    clip = "document.querySelectorAll('.stage canvas')[1].style.clipPath"
    before = page.locator(".values caption").inner_text()
    box = stage.bounding_box()
    page.mouse.move(box["x"] + box["width"] / 2, box["y"] + 30)
    page.mouse.down()
    page.mouse.move(box["x"] + box["width"] / 4, box["y"] + 40)
    page.mouse.up()
    assert swipe.input_value() == "25"
    assert "75%" in page.evaluate(clip)
    assert page.locator(".values caption").inner_text() == before
    swipe.fill("90")
    assert "10%" in page.evaluate(clip)
    stage.focus()
    page.keyboard.press("[")
    assert swipe.input_value() == "85"


def test_the_keys_move_the_pixel_and_stop_at_the_border(page):
    page.locator(".stage").focus()
    caption = page.locator(".values caption")
    assert "row 9, column 16;" in caption.inner_text()
    for key in ("ArrowDown", "ArrowLeft"):
        page.keyboard.press(key)
    assert "row 10, column 15;" in caption.inner_text()
    for _ in range(3):
        page.keyboard.press("Shift+ArrowRight")
    assert "row 10, column 23;" in caption.inner_text()


def test_the_band_slider_shows_one_band_in_grey(page, page_file):
    assert (colours(page, 0)[..., 0] != colours(page, 0)[..., 2]).any()
    slider = page.get_by_label("Band:")
    slider.fill("2")
    assert "band 3 of 12, 520 nm" in page.locator("label", has_text="Band:").inner_text()
    assert page.get_by_label("Colours", exact=True).input_value() == "band"
    page.get_by_label("Right", exact=True).select_option("cube 3")
    grey = colours(page, 0)
    assert (grey[..., 0] == grey[..., 2]).all()
    truth = open_cube(page_file[1]["truth"]).to_numpy()[2]
    low, high = np.percentile(truth, (1, 99))
    expected = 255 * np.clip((truth - low) / (high - low), 0, 1) ** (1 / 2.2)
    assert np.abs(grey[..., 0] - expected)[truth > low + 0.1 * (high - low)].max() < 8


def test_a_map_says_where_the_method_is_better(page):
    page.get_by_label("Right", exact=True).select_option("gain 2")
    pixels = colours(page, 0)[..., :3].astype(int)
    assert (pixels[..., 2] >= pixels[..., 0]).mean() > 0.95  # blue, nearly everywhere
    assert "blue is better, orange worse" in page.locator(".scales").inner_text()
    page.get_by_label("Left", exact=True).select_option("sam 1")
    assert "spectral angle to the truth" in page.locator(".scales").inner_text()


def test_a_hostile_name_is_text(page):
    assert page.evaluate("window.hacked") is None
    assert HOSTILE in page.locator("h1").inner_text()
    assert page.locator("img").count() == page.locator("img[src^='data:']").count()


def test_the_page_fits_on_a_narrow_screen_and_is_labelled(open_page, page_file):
    page = open_page(page_file[0], width=400)
    page.wait_for_selector(".viewer[data-state=ready]")
    assert page.evaluate("document.documentElement.scrollWidth") == 400
    assert page.locator("select, input").count() == 5
    for control in page.locator("select, input").all():
        assert control.evaluate("e => e.labels.length") == 1
    assert page.locator(".plot").get_attribute("aria-label").startswith("Spectra of 4 cubes")
    assert "Arrow keys" in page.locator(".stage").get_attribute("aria-label")
    assert page.locator(".values thead th").evaluate_all("all => all.every(e => e.scope === 'col')")
    assert page.locator(".values tbody th").evaluate_all("all => all.every(e => e.scope === 'row')")
    assert not page.locator("details").evaluate("e => e.open")


def test_without_scripts_the_still_pictures_are_there(open_page, page_file):
    page = open_page(page_file[0], scripts=False)
    pictures = page.locator("details[open] img")
    assert pictures.count() == 4
    assert all(picture.is_visible() for picture in pictures.all())
    assert pictures.first.get_attribute("alt") == "low, true colour (650, 550, 450 nm)"
