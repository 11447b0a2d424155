import dataclasses
import hashlib
import io
import json
import zipfile

import numpy as np
import pytest
from PIL import Image

from hsipipe.artifacts import RawScenes
from hsipipe.datasets.catalogue import DATASETS
from hsipipe.datasets.cave import CAVE, SCENES
from hsipipe.datasets.download import LOCK, Archive
from hsipipe.datasets.prepare import prepare_scenes
from hsipipe.errors import DataError, FileFormatError, IntegrityError, MissingInputError, ParamsError, UnknownNameError


@pytest.fixture
def params(make_params):
    """The group `dataset`: ``params("cave", root=...)``."""

    def params(name="cave", root=None):
        made = {"scenes": 2, "size": 32, "bands": 6, "seed": 0}
        return make_params("dataset", name=name, root=None if root is None else str(root), synthetic=made)

    return params


@pytest.fixture
def out(tmp_path):
    folder = tmp_path / "out"
    folder.mkdir()
    return folder


def test_cave_from_a_folder(tmp_path, out, write_scene, params):
    root = tmp_path / "cave"
    toys = write_scene(root / "toys_ms", nested=True)
    water = write_scene(root / "watercolors_ms", eight_bit=True, size=(8, 8))
    (root / "toys_ms" / "toys_ms" / "Thumbs.db").write_bytes(b"junk")
    (root / "toys_ms" / "toys_ms" / "toys_RGB.bmp").write_bytes(b"picture")
    (root / "._toys_ms").mkdir()
    (root / "readme.txt").write_text("no scene")
    summary = prepare_scenes(params(root=root), out)
    assert (summary["scenes"], summary["bands"], summary["pixels"]) == (2, 31, 8 * 12 + 64)
    scenes = RawScenes(out)
    np.testing.assert_array_equal(scenes.open("toys"), toys)
    np.testing.assert_array_equal(scenes.open("watercolors"), water)
    assert sorted(path.name for path in out.iterdir()) == ["scenes.json", "toys_ms", "watercolors_ms"]
    assert not list(out.rglob("Thumbs.db"))
    assert not any(path.is_symlink() for path in out.rglob("*"))


def test_the_index_has_the_facts_and_the_sha256_of_every_file(tmp_path, out, write_scene, params):
    root = tmp_path / "cave"
    write_scene(root / "toys_ms")
    prepare_scenes(params(root=root), out)
    index = RawScenes(out).index()
    assert index["dataset"] == "cave"
    assert index["wavelength_nm"] == [float(nm) for nm in range(400, 701, 10)]
    (entry,) = index["scenes"]
    assert (entry["name"], entry["path"], entry["shape"]) == ("toys", "toys_ms", [31, 8, 12])
    assert len(entry["sha256"]) == 31
    for name, digest in entry["sha256"].items():
        source = (root / name).read_bytes()
        assert (out / name).read_bytes() == source
        assert hashlib.sha256(source).hexdigest() == digest


def test_a_root_without_scenes_says_what_is_expected(tmp_path, out, params):
    (tmp_path / "empty").mkdir()
    with pytest.raises(MissingInputError, match=r"No scene of 'cave' in .*empty\. Expected there: folders <scene>_ms"):
        prepare_scenes(params(root=tmp_path / "empty"), out)
    with pytest.raises(MissingInputError, match=r"is no folder\. Expected there"):
        prepare_scenes(params(root=tmp_path / "none"), out)


def test_bad_scenes_are_named(tmp_path, out, write_scene, params):
    root = tmp_path / "cave"
    write_scene(root / "good_ms")
    write_scene(root / "toys_ms")
    file = root / "toys_ms" / "toys_ms_05.png"
    original = file.read_bytes()
    file.unlink()
    with pytest.raises(DataError, match=r"Scene 'toys': .*missing: 5\."):
        prepare_scenes(params(root=root), out)
    file.write_bytes(original[:-40])
    with pytest.raises(FileFormatError, match=r"toys_ms_05\.png"):
        prepare_scenes(params(root=root), out)
    Image.fromarray(np.full((8, 12), 700, dtype=np.uint16)).save(file)
    with pytest.raises(DataError, match=r"Scene 'toys': band 5 \(440 nm\) of 31 is dead"):
        prepare_scenes(params(root=root), out)


def test_a_damaged_file_is_named_where_the_user_has_it(tmp_path, out, write_scene, params):
    root = tmp_path / "cave"
    write_scene(root / "toys_ms", nested=True)
    (root / "toys_ms" / "toys_ms" / "toys_ms_05.png").write_bytes(b"")
    with pytest.raises(FileFormatError) as caught:
        prepare_scenes(params(root=root), out)
    message = str(caught.value)
    assert message.startswith(f"{root}/toys_ms: toys_ms_05.png cannot be read as PNG")
    assert message.count(str(tmp_path)) == 1
    assert list(out.iterdir()) == []


@pytest.mark.parametrize(
    "place", ["toys_ms", "renamed", "complete_ms_data/toys_ms", "complete_ms_data/toys_ms/toys_ms"]
)
def test_where_the_scenes_of_cave_may_lie(tmp_path, out, write_scene, place, params):
    folder = tmp_path / "root" / place
    toys = write_scene(folder, name="toys")
    root = folder if "/" not in place else tmp_path / "root"
    (tmp_path / "root" / "__MACOSX" / "toys_ms").mkdir(parents=True)
    prepare_scenes(params(root=root), out)
    assert sorted(path.name for path in out.iterdir()) == ["scenes.json", "toys_ms"]
    np.testing.assert_array_equal(RawScenes(out).open("toys"), toys)
    RawScenes(out).verify("toys")


def test_the_current_folder_is_a_root(tmp_path, out, write_scene, monkeypatch, params):
    toys = write_scene(tmp_path / "toys_ms")
    monkeypatch.chdir(tmp_path / "toys_ms")
    prepare_scenes(params(root="."), out)
    np.testing.assert_array_equal(RawScenes(out).open("toys"), toys)


def test_a_scene_folder_without_a_picture_is_left_out_with_a_warning(tmp_path, out, write_scene, caplog, params):
    write_scene(tmp_path / "cave" / "toys_ms")
    (tmp_path / "cave" / "empty_ms").mkdir()
    assert prepare_scenes(params(root=tmp_path / "cave"), out)["scenes"] == 1
    assert [record.getMessage() for record in caplog.records] == [f"skipped {tmp_path}/cave/empty_ms: it holds no PNG"]


def test_one_scene_in_two_places(tmp_path, out, write_scene, params):
    write_scene(tmp_path / "cave" / "a" / "toys_ms")
    write_scene(tmp_path / "cave" / "b" / "toys_ms")
    with pytest.raises(DataError, match=r"Scene 'toys' is in .*a/toys_ms and in .*b/toys_ms; keep one"):
        prepare_scenes(params(root=tmp_path / "cave"), out)


def test_synthetic(out, params):
    summary = prepare_scenes(params("synthetic"), out)
    assert (summary["scenes"], summary["bands"]) == (2, 6)
    index = RawScenes(out).index()
    assert [entry["name"] for entry in index["scenes"]] == ["synthetic_00", "synthetic_01"]
    np.testing.assert_allclose(index["wavelength_nm"], np.linspace(400, 1000, 6))
    assert RawScenes(out).open("synthetic_01").shape == (6, 32, 32)
    RawScenes(out).verify("synthetic_01")


def test_synthetic_has_no_root(tmp_path, out, params):
    with pytest.raises(ParamsError, match=r"dataset\.root is .*set it to null"):
        prepare_scenes(params("synthetic", root=tmp_path), out)


def test_an_unknown_dataset_lists_the_known_ones(out, params):
    with pytest.raises(
        UnknownNameError, match=r"Unknown dataset 'kave'\. Did you mean 'cave'\? Known datasets: cave, chi"
    ):
        prepare_scenes(params("kave"), out)


def test_a_changed_file_is_named(out, params):
    prepare_scenes(params("synthetic"), out)
    chunk = next(path for path in sorted(out.rglob("c/0/0/0")))
    chunk.write_bytes(chunk.read_bytes() + b"x")
    with pytest.raises(IntegrityError, match=r"reflectance/c/0/0/0: sha256"):
        RawScenes(out).verify("synthetic_00")
    chunk.unlink()
    with pytest.raises(IntegrityError, match="no file"):
        RawScenes(out).verify("synthetic_00")


def test_unknown_scene_and_missing_index(tmp_path, out, params):
    prepare_scenes(params("synthetic"), out)
    with pytest.raises(DataError, match=r"No scene 'x' in .*; there are synthetic_00, synthetic_01"):
        RawScenes(out).open("x")
    with pytest.raises(MissingInputError, match="Run the stage download"):
        RawScenes(tmp_path).open("x")


@pytest.fixture
def published(tmp_path, server, write_scene, monkeypatch):
    """The CAVE data set, its address pointing at an archive of the same layout on this machine."""
    source = tmp_path / "source"
    values = {"toys": write_scene(source / "toys_ms", nested=True)}
    values["watercolors"] = write_scene(source / "watercolors_ms", nested=True, eight_bit=True)
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for path in sorted(source.rglob("*")):
            archive.write(path, path.relative_to(source))
        archive.writestr("toys_ms/toys_ms/Thumbs.db", "junk")
        archive.writestr("__MACOSX/toys_ms/._toys_ms_01.png", "junk")
    server.content["/complete_ms_data.zip"] = buffer.getvalue()
    archive = Archive(f"{server.url}/complete_ms_data.zip", None, len(buffer.getvalue()))
    monkeypatch.setattr("hsipipe.datasets.cave.CAVE", dataclasses.replace(CAVE, archives=(archive,)))
    return values


def test_cave_by_download(tmp_path, out, published, server, params):
    cache = tmp_path / "cache"
    assert DATASETS["cave"].presence(cache) == "not here"
    prepare_scenes(params(), out, cache=cache)
    for name, values in published.items():
        np.testing.assert_array_equal(RawScenes(out).open(name), values)
    assert DATASETS["cave"].presence(cache) == "cached"
    assert list(json.loads((cache / LOCK).read_text())["sha256"]) == [f"{server.url}/complete_ms_data.zip"]
    assert server.requests == ["/complete_ms_data.zip"]


def test_a_download_that_changed_since_the_first_use(tmp_path, out, published, server, params):
    cache = tmp_path / "cache"
    cache.mkdir()
    (cache / LOCK).write_text(json.dumps({"sha256": {f"{server.url}/complete_ms_data.zip": "0" * 64}}))
    with pytest.raises(IntegrityError, match="at first use"):
        prepare_scenes(params(), out, cache=cache)
    assert list(out.iterdir()) == []


def test_facts_of_the_catalogue():
    assert len(SCENES) == 32
    for name in DATASETS:
        dataset = DATASETS[name]
        assert dataset.name == name
        assert dataset.title
        assert dataset.licence
        assert dataset.bands in (None, len(dataset.wavelength_nm))
        assert dataset.size_bytes > 0 or not dataset.archives
        assert list(dataset.wavelength_nm) == sorted(dataset.wavelength_nm)
        assert all(archive.url.startswith("https://") for archive in dataset.archives)


def test_presence_of_generated_data(tmp_path):
    assert DATASETS["synthetic"].presence(tmp_path) == "generated"
