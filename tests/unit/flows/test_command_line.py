"""The command line, in this process; what needs the whole pipeline is in tests/pipelines."""

import json
import re

import numpy as np
import pytest
import scipy.io
import xarray as xr
from product_files import COLUMNS, ROWS, write_enmap
from typer.testing import CliRunner

from flows.__main__ import app
from hsipipe.datasets.catalogue import DATASETS
from hsipipe.errors import DataError, FileFormatError, HsipipeError, MissingInputError, ParamsError, UnknownNameError
from hsipipe.formats import open_cube, save_cube
from hsipipe.methods.bicubic import Bicubic
from hsipipe.storage.publish import publish


@pytest.fixture
def invoke(monkeypatch):
    """Call the command line; errors that a person can mend come out as they are."""
    monkeypatch.setenv("COLUMNS", "160")

    def invoke(*arguments):
        result = CliRunner().invoke(app, [str(argument) for argument in arguments])
        if isinstance(result.exception, HsipipeError):
            raise result.exception
        return result

    return invoke


@pytest.fixture
def cube(tmp_path):
    values = np.random.default_rng(0).random((4, 6, 5), dtype=np.float32)
    values[2] = 0.25
    values[1, 0, 0] = np.nan
    array = xr.DataArray(values, dims=("band", "y", "x"))
    return array.assign_coords(wavelength_nm=("band", [400.0, 500.0, 600.0, 700.0]))


@pytest.mark.parametrize(
    "command",
    [
        [],
        ["pipeline"],
        ["serve"],
        ["methods"],
        ["datasets"],
        ["download"],
        ["info"],
        ["view"],
        ["quicklook"],
        ["predict"],
        ["preset"],
        ["sweep"],
        ["tables"],
        ["model-server"],
    ],
)
def test_every_command_has_help(invoke, command):
    result = invoke(*command, "--help")
    assert result.exit_code == 0
    assert "Usage" in result.output


def test_datasets_are_listed_with_what_decides_for_or_against_them(invoke):
    output = invoke("datasets").output
    for text in ("synthetic", "cave", "licence", "31"):
        assert text in output


def test_the_list_of_datasets_fits_a_terminal_of_80_columns(invoke, monkeypatch, tmp_path):
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setenv("HSIPIPE_CACHE", str(tmp_path))
    lines = invoke("datasets").output.splitlines()
    assert len(lines) == 1 + len(DATASETS)
    assert max(map(len, lines)) <= 80
    assert not any("…" in line for line in lines)
    assert "chikusei 128 363-1018 2.5 1.1 GB not here CC BY 3.0".split() in [line.split() for line in lines]


def test_the_details_of_a_dataset(invoke):
    output = invoke("datasets", "pavia_center").output
    for text in ("102", "430-860 nm", "1.3 m", "Pavia.mat", "trust on first use", "8000"):
        assert text in output
    assert "192825c63e76" in invoke("datasets", "chikusei").output
    assert "only at reduced resolution" in invoke("datasets", "paris_eo1").output
    with pytest.raises(UnknownNameError, match="Did you mean 'cave'"):
        invoke("datasets", "kave")


def test_download_brings_a_dataset_into_the_cache(invoke, tmp_path, monkeypatch):
    mirror = tmp_path / "mirror"
    mirror.mkdir()
    scipy.io.savemat(mirror / "PaviaU.mat", {"paviaU": np.ones((2, 3, 103), np.uint16)})
    monkeypatch.setenv("HSIPIPE_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("HSIPIPE_MIRROR", str(mirror))
    monkeypatch.setenv("HSIPIPE_OFFLINE", "1")
    place = tmp_path / "cache" / "pavia_university"
    assert invoke("download", "pavia_university").output == f"pavia_university: 1 scene in {place}\n"
    assert (place / "PaviaU.mat").is_file()
    with pytest.raises(MissingInputError, match=r"Pavia\.mat: no such file\. HSIPIPE_OFFLINE is set"):
        invoke("download", "pavia_center")


@pytest.mark.parametrize(("name", "how"), [("synthetic", "generated"), ("folder", "set dataset.root")])
def test_download_of_what_is_nowhere_says_so(invoke, name, how):
    output = invoke("download", name).output
    assert output.startswith(f"{name}: there is nothing to download")
    assert how in output


def test_info_says_what_is_in_a_cube(invoke, cube, tmp_path):
    save_cube(cube, tmp_path / "cube.nc")
    output = invoke("info", tmp_path / "cube.nc").output
    for text in ("4 bands, 6 rows, 5 columns", "400 to 700 nm"):
        assert text in output
    words = [line.split() for line in output.splitlines()]
    assert ["NaN", "or", "Inf", "1"] in words
    assert ["dead", "bands", "band", "3", "(600", "nm)"] in words


def test_info_of_several_cubes_as_json_is_an_object_a_line(invoke, cube, tmp_path):
    save_cube(cube, tmp_path / "a.nc")
    save_cube(cube[:3], tmp_path / "b.npy")
    first, second = map(json.loads, invoke("info", "--json", tmp_path / "a.nc", tmp_path / "b.npy").output.splitlines())
    assert (first["bands"], first["rows"], first["columns"]) == (4, 6, 5)
    assert first["wavelength_nm"] == [400, 500, 600, 700]
    assert (first["not_finite"], first["dead_bands"]) == (1, [3])
    assert (second["file"], second["bands"], second["wavelength_nm"]) == (str(tmp_path / "b.npy"), 3, None)


def test_view_and_quicklook_write_a_page_and_a_picture(invoke, cube, tmp_path):
    save_cube(cube, tmp_path / "cube.nc")
    output = invoke("view", tmp_path / "cube.nc", "--out", tmp_path / "look.html").output
    assert "look.html (0." in output
    assert (tmp_path / "look.html").read_text(encoding="utf-8").startswith("<!doctype html>")
    output = invoke("quicklook", tmp_path / "cube.nc", tmp_path / "look.png").output
    assert "bands" in output
    assert (tmp_path / "look.png").read_bytes().startswith(b"\x89PNG")


def test_view_refuses_before_it_writes(invoke, cube, tmp_path):
    save_cube(cube, tmp_path / "cube.nc")
    with pytest.raises(FileFormatError, match="the page is HTML"):
        invoke("view", tmp_path / "cube.nc", "--out", tmp_path / "cube.nc")
    with pytest.raises(MissingInputError, match="No folder"):
        invoke("view", tmp_path / "cube.nc", "--out", tmp_path / "no" / "look.html")
    assert [path.name for path in tmp_path.iterdir()] == ["cube.nc"]


def test_info_says_what_was_applied_to_a_product_and_what_was_masked(invoke, tmp_path):
    clouds = np.zeros((ROWS, COLUMNS))
    clouds[:3] = 1
    path = write_enmap(tmp_path / "a", layers={"QUALITY_CLOUD": clouds})
    output = " ".join(invoke("info", path, "--detector-overlap", "swir").output.split())
    for text in (
        "product EnMAP L2A",
        "reflectance = value x 0.0001",
        "clouds (QL_QUALITY_CLOUD): 50 %",
        "VNIR and SWIR overlap from 910 to 920.5 nm: SWIR is used, 1 bands",
        "detectors swir 3 bands, vnir 2 bands",
        "widths 6.25 to 7.5 nm",
    ):
        assert text in output
    fewer = " ".join(invoke("info", path, "--masks", "fill").output.split())
    assert "not masked by choice: clouds" in fewer
    with pytest.raises(ParamsError, match="masks is 'none', expected one of all, defects, fill"):
        invoke("info", path, "--masks", "none")


def test_info_of_a_missing_file_is_a_clear_error(invoke, tmp_path):
    with pytest.raises(MissingInputError, match="No file or folder"):
        invoke("info", tmp_path / "nothing.nc")


def test_a_preset_is_printed_as_options_for_dvc(invoke):
    words = invoke("preset", "dmgasr-paper").output.split()
    assert words[::2] == ["-S"] * (len(words) // 2)
    assert "patches.size=128" in words
    assert 'compare=["bicubic","pca-residual","dmgasr-paper"]' in words


def test_presets_are_listed(invoke):
    names = [line.split()[0] for line in invoke("preset").output.splitlines()]
    assert names[:3] == ["name", "ddpmfus-paper", "deblur"]


def test_an_unknown_preset_is_an_error_that_lists_them(invoke):
    with pytest.raises(UnknownNameError, match="dmgasr-paper"):
        invoke("preset", "dmgasr-papr")


def test_a_preset_fits_the_params(repository, tmp_path, invoke):
    from tasks.running.dvc import changed_params

    (tmp_path / "params.yaml").write_bytes((repository / "params.yaml").read_bytes())
    words = invoke("preset", "dmgasr-paper").output.split()
    params, _ = changed_params(tmp_path, words[1::2])
    assert (params.patches.size, params.sampling.sampler) == (128, "ancestral")
    assert params.compare[-1] == "dmgasr-paper"


@pytest.mark.parametrize(
    "arguments",
    [
        ["serve", "--interval", "5", "--cron", "0 2 * * *"],
        ["serve", "--interval", "0"],
        ["serve", "--interval", "nan"],
        ["pipeline", "--timeout", "0"],
        ["sweep", "steps", "--timeout", "0"],
        ["nonsense"],
    ],
)
def test_a_wrong_use_is_a_usage_error(invoke, arguments):
    assert invoke(*arguments).exit_code == 2


def test_each_sweep_is_listed_on_one_line(invoke):
    lines = invoke("sweep").output.splitlines()
    assert [line.split()[0] for line in lines] == ["sweep", "seeds", "ablations", "groups", "steps", "long"]


@pytest.fixture
def flow_calls(monkeypatch, copy_project, tmp_path):
    """Stands in for Prefect and the flow; gives the overrides of each call."""
    import flows.commands.pipeline
    import flows.pipeline
    import flows.prefect_support.environment
    import tasks.running.dvc

    calls = []
    monkeypatch.chdir(copy_project(tmp_path / "project"))
    monkeypatch.setattr(flows.prefect_support.environment, "prepare", lambda root: None)
    monkeypatch.setattr(tasks.running.dvc, "changed_params", lambda root, overrides: None)
    monkeypatch.setattr(flows.pipeline, "pipeline", lambda overrides, timeout: calls.append((overrides, timeout)))
    monkeypatch.setattr(flows.commands.pipeline, "_print_results", lambda: print("the table"))
    return calls


@pytest.mark.parametrize(
    ("name", "overrides"),
    [
        ("seeds", ["seeds=[1,2]", "steps.methods=[]"]),
        ("steps", ["seeds=[]", 'steps.methods=["dmgasr"]', "steps.values=[2,4,10,20,100]"]),
        (
            "groups",
            [
                'compare=["bicubic","dmgasr-latent","dmgasr-12-4","dmgasr-16-4","dmgasr-24-6","dmgasr-32-8"]',
                "seeds=[]",
                "steps.methods=[]",
                'registry.candidates=["dmgasr-latent"]',
            ],
        ),
    ],
)
def test_a_sweep_is_the_pipeline_with_overrides_and_those_of_the_user_come_last(invoke, flow_calls, name, overrides):
    result = invoke("sweep", name, "--timeout", "5", "-S", "dataset.name=cave")
    assert flow_calls == [([*overrides, "dataset.name=cave"], 5.0)]
    assert result.output == "the table\n"


def test_a_sweep_takes_a_preset_first(invoke, flow_calls):
    invoke("sweep", "seeds", "--preset", "dmgasr-paper")
    ((overrides, _),) = flow_calls
    assert overrides[0] != "seeds=[1,2]" == overrides[-2]


def test_a_protocol_comes_after_the_preset_and_before_the_user(invoke, flow_calls):
    own = ["dataset.name=cave", "degradation.scale=3"]
    words = [word for override in own for word in ("-S", override)]
    invoke("pipeline", "--preset", "dmgasr-paper", "--protocol", "mcnet", *words)
    ((overrides, _),) = flow_calls
    fixed = invoke("protocol", "mcnet", "--dataset", "cave", "--scale", "3").output.split()[1::2]
    assert overrides[-len(fixed) - 2 :] == [*fixed, *own]
    assert "protocol=mcnet" in fixed
    assert len(overrides) > len(fixed) + 2


def test_an_unknown_protocol_is_an_error_before_prefect_is_started(invoke, flow_calls):
    with pytest.raises(UnknownNameError, match="mcnett"):
        invoke("pipeline", "--protocol", "mcnett")
    with pytest.raises(ParamsError, match=r"degradation\.scale must be a positive whole number, got x"):
        invoke("pipeline", "--protocol", "mcnet", "-S", "degradation.scale=x")
    assert not flow_calls


def test_a_sweep_is_checked_before_prefect_is_started(invoke, copy_project, tmp_path, monkeypatch):
    monkeypatch.chdir(copy_project(tmp_path / "project"))
    with pytest.raises(UnknownNameError, match="Did you mean 'steps'"):
        invoke("sweep", "step")
    with pytest.raises(ParamsError, match=r"unknown key 'sampling\.tiles', did you mean 'tile'"):
        invoke("sweep", "steps", "-S", "sampling.tiles=3")


class Doubler(Bicubic):
    """A model without weights."""


@pytest.fixture
def bicubic(monkeypatch, tmp_path):
    """Stands in for a trained model, in the folder x: the way through files and tiles is what is tested."""
    import hsipipe.commands.predict_file

    monkeypatch.chdir(tmp_path)
    with publish(tmp_path / "x") as folder:
        Bicubic(2).save(folder)
    monkeypatch.setattr(hsipipe.commands.predict_file, "load_model", lambda folder: Bicubic(2))


def test_predict_writes_a_cube_with_the_wavelengths_of_the_input(invoke, cube, tmp_path, bicubic):
    save_cube(cube.fillna(0.5) * 1000, tmp_path / "lr.nc")
    result = invoke("predict", tmp_path / "lr.nc", tmp_path / "hr.nc", "--model", "x", "--full-scale", 1000)
    assert result.exit_code == 0, result.output
    hr = open_cube(tmp_path / "hr.nc")
    assert hr.shape == (4, 12, 10)
    assert hr["wavelength_nm"].values.tolist() == [400.0, 500.0, 600.0, 700.0]
    expected = Bicubic(2).predict(cube.fillna(0.5).to_numpy()[None])[0] * 1000
    np.testing.assert_allclose(hr, expected, rtol=1e-4)


def test_predict_with_samples_writes_two_cubes_and_names_both(invoke, cube, tmp_path, bicubic):
    save_cube(cube.fillna(0.5), tmp_path / "lr.nc")
    result = invoke("predict", tmp_path / "lr.nc", tmp_path / "hr.nc", "--model", "x", "--samples", 2)
    first, second = result.stdout.splitlines()
    assert first.startswith(f"wrote {tmp_path / 'hr.nc'}: 4 bands of 12 x 10 pixels, values ")
    assert re.search(r" to [\d.]+, in \d+\.\d s$", first)
    assert second == f"wrote {tmp_path / 'hr_std.nc'}"
    assert "standard deviation is zero everywhere" in result.stderr
    assert not open_cube(tmp_path / "hr_std.nc").any()


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ([], DataError, "set the value that maps to 1.0"),
        (["--full-scale", "-1"], ParamsError, "must be a positive number"),
        (["--tile", "8", "--overlap", "4"], ParamsError, "less than half"),
    ],
)
def test_predict_refuses_what_cannot_be_right(invoke, cube, tmp_path, bicubic, options, error, message):
    save_cube(cube.fillna(0.5) * 1000, tmp_path / "lr.nc")
    with pytest.raises(error, match=message):
        invoke("predict", tmp_path / "lr.nc", tmp_path / "hr.nc", "--model", "x", *options)
    assert not (tmp_path / "hr.nc").exists()


def test_predict_gives_no_data_for_no_data(invoke, cube, tmp_path, bicubic):
    save_cube(cube, tmp_path / "lr.nc")
    result = invoke("predict", tmp_path / "lr.nc", tmp_path / "hr.nc", "--model", "x")
    holes = np.isnan(cube.to_numpy()).any(axis=0)
    assert 0 < holes.mean() < 1
    assert f"note: {holes.mean():.1%} of the image has no data, and has none in the result." in result.stderr
    scale = open_cube(tmp_path / "hr.nc").sizes["x"] // cube.sizes["x"]
    expected = holes.repeat(scale, axis=0).repeat(scale, axis=1)
    np.testing.assert_array_equal(np.isnan(open_cube(tmp_path / "hr.nc").to_numpy()).all(axis=0), expected)


def test_predict_without_a_model_says_what_is_missing(invoke, cube, tmp_path):
    save_cube(cube.fillna(0.5), tmp_path / "lr.nc")
    with pytest.raises(MissingInputError, match="holds no model"):
        invoke("predict", tmp_path / "lr.nc", tmp_path / "hr.nc", "--model", tmp_path / "nothing")
