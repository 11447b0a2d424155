"""The whole pipeline on scenes with pixels that have no data: values under a mask change nothing, in any stage."""

import json

import numpy as np
import pytest

from hsipipe.storage.manifest import sha256

pytestmark = [
    pytest.mark.slow,
    # MLflow warns when it loads the registered model itself; other tests run the stage in another process.
    pytest.mark.filterwarnings("ignore:.*Any type hint is inferred as AnyType:UserWarning"),
]

SIZE, BANDS = 32, 8
ROWS = "compare=[bicubic,pca-residual,fusion-fast-regression]"


def write_scenes(folder, *, under):
    """Scenes of waves. A pixel under a mask lacks one band; the others have the value `under`."""
    folder.mkdir()
    y, x = np.mgrid[:SIZE, :SIZE] / SIZE
    where = np.zeros((SIZE, SIZE), bool)
    where[:, 5:9] = where[18:27, 15:26] = True
    for number in range(5):
        rng = np.random.default_rng(number)
        waves = [0.5 + 0.2 * np.sin(9 * y * a + 7 * x + b) for a, b in rng.uniform(0.5, 3, (BANDS, 2))]
        cube = (np.stack(waves) + rng.normal(0, 0.01, (BANDS, SIZE, SIZE))).astype(np.float32)
        cube[:, where] = under
        cube[number % BANDS, where] = np.nan
        np.save(folder / f"s{number}.npy", cube)


@pytest.fixture(scope="module")
def projects(tmp_path_factory, new_project, execute_all, fusion):
    """Two projects that differ under the masks alone, both run to the report."""
    made = []
    for name, under in (("one", 0.4), ("two", 0.9)):
        root = tmp_path_factory.mktemp(name)
        write_scenes(root / "scenes", under=under)
        nm = np.linspace(420, 700, BANDS).tolist()
        data = (f"dataset.root={root / 'scenes'}", "dataset.name=folder", f"dataset.folder.wavelength_nm={nm}")
        sizes = (setting for setting in fusion if "compare" not in setting)
        project = new_project(root / "project", *sizes, *data, ROWS)
        made.append(execute_all(project))
    return made


def digests(root, pattern):
    return {path.relative_to(root).as_posix(): sha256(path) for path in sorted(root.glob(pattern)) if path.is_file()}


@pytest.mark.parametrize(
    "pattern",
    ["data/pairs/*/*.zarr/**/*", "data/patches/**/c/**/*", "models/**/*.safetensors"],
)
def test_values_under_a_mask_change_no_byte(projects, pattern):
    one, other = (digests(root, pattern) for root in projects)
    assert one == other
    assert one


def test_nor_a_score(projects):
    def scores(root):
        tree = json.loads((root / "reports" / "metrics.json").read_text(encoding="utf-8"))
        for rows in (tree["models"], *tree["scenes"].values()):
            for row in rows.values():
                row.pop("seconds_per_image")
        return tree["models"], tree["scenes"], tree["test_set"]

    one, other = (scores(root) for root in projects)
    assert one == other
    assert all(row["mpsnr_db"] is not None for row in one[0].values())
    assert all(0.1 < entry["no_data_share"] < 0.6 for entry in one[2])


def test_the_domain_and_the_registered_model(projects):
    one, other = (digests(root, "models/**/domain.json") for root in projects)
    assert one == other
    assert "models/superresolver/domain.json" in one


def test_the_report_tells(projects):
    page = (projects[0] / "reports" / "report" / "index.html").read_text(encoding="utf-8")
    assert "of the pixels without data" in page
