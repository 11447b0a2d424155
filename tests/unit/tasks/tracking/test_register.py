"""The registry, with a small model that was never trained."""

from dataclasses import dataclass

import mlflow
import numpy as np
import pytest
from samplers import Spreads

import hsipipe
from hsipipe.errors import IntegrityError, MissingInputError, ModelInputError, ParamsError
from hsipipe.methods.domain import Domain
from hsipipe.methods.pca_residual import PcaResidual
from hsipipe.methods.super_resolver import check_input, check_msi
from hsipipe.model_registry.load import load_pinned, load_registered, resolve_registered
from hsipipe.model_registry.store import connect, global_store, store_root, tracking_uri
from hsipipe.params import load_params
from hsipipe.storage.manifest import digest
from hsipipe.storage.publish import publish
from tasks.tracking import promote, register_model, registered_uri, standing
from tasks.tracking.runs import stage_run

# MLflow warns of the annotations of its own classes when log_model imports them for the first time.
pytestmark = pytest.mark.filterwarnings("ignore:.*Any type hint is inferred as AnyType:UserWarning")

BANDS = 8
NAME = "hsipipe-synthetic-x4"


@pytest.fixture
def make_model(small_model):
    """A function that saves a model in a folder; another seed is another content."""

    def make_model(folder, seed=1):
        with publish(folder) as out:
            small_model(seed).save(out)
        return folder

    return make_model


def register(root, folder, model=None):
    model = model or PcaResidual.load(folder)
    params = load_params(root / "params.yaml")
    with stage_run(root, "register", params=params, visible={}, digests={}) as tracker:
        version = register_model(root, folder, tracker=tracker, model=model, tags={"mpsnr_db": 30.0})
    assert tracker.client.get_run(tracker.run_id).info.status == "FINISHED"
    return version


@pytest.fixture
def registered(root, tmp_path, make_model):
    folder = make_model(tmp_path / "superresolver")
    return folder, register(root, folder)


def test_what_was_registered_is_loaded(root, registered):
    folder, version = registered
    assert version == 1
    assert registered_uri(root, NAME) == f"models:/{NAME}@challenger"
    lr = np.random.default_rng(0).random((1, BANDS, 4, 4), dtype=np.float32)
    expected = PcaResidual.load(folder).predict(lr)
    for uri in (f"models:/{NAME}@challenger", f"models:/{NAME}/1"):
        np.testing.assert_array_equal(load_registered(root, uri).predict(lr), expected)


def test_the_example_of_mlflow_gives_no_warnings(root, tmp_path, small_model, caplog):
    with publish(tmp_path / "superresolver") as folder:
        small_model().within(Domain(None, 0.0, 0.1, 0.01, np.eye(BANDS)[:1], 0.1)).save(folder)
    register(root, tmp_path / "superresolver")
    assert [record.message for record in caplog.records if record.name == "hsipipe.model"] == []
    with global_store(root):
        mlflow.pyfunc.load_model(f"models:/{NAME}@challenger").predict(np.full((1, BANDS, 8, 8), 0.5, np.float32))
    assert "outside of the range of the training" in caplog.text


def test_a_champion_is_found_from_any_directory(root, registered, tmp_path_factory, monkeypatch):
    folder, version = registered
    promote(root, NAME, version, expected=standing(root, NAME), reason="better", evidence={})
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    monkeypatch.chdir(elsewhere)
    monkeypatch.setenv("HSIPIPE_CACHE", str(tmp_path_factory.mktemp("cache")))
    with pytest.raises(MissingInputError, match="set MLFLOW_TRACKING_URI"):
        store_root()
    monkeypatch.setenv("MLFLOW_TRACKING_URI", tracking_uri(root))
    lr = np.random.default_rng(0).random((1, BANDS, 4, 4), dtype=np.float32)
    expected = PcaResidual.load(folder).predict(lr)
    uri = f"models:/{NAME}@champion"
    np.testing.assert_array_equal(load_registered(store_root(), uri).predict(lr), expected)
    np.testing.assert_array_equal(mlflow.pyfunc.load_model(uri).predict(lr), expected)
    assert not any(elsewhere.iterdir())


def test_the_same_content_is_registered_once_and_other_content_moves_the_alias(root, registered, tmp_path, make_model):
    folder, first = registered
    assert register(root, folder) == first
    assert register(root, make_model(tmp_path / "b" / "superresolver", seed=2)) == 2
    client = connect(root)
    assert int(client.get_model_version_by_alias(NAME, "challenger").version) == 2
    assert register(root, folder) == first
    assert int(client.get_model_version_by_alias(NAME, "challenger").version) == 1


def test_a_model_whose_bytes_changed_is_refused(root, registered):
    (weights,) = (root / "mlartifacts").rglob("model.safetensors")
    content = bytearray(weights.read_bytes())
    content[-1] ^= 1
    weights.write_bytes(content)
    with pytest.raises(IntegrityError, match=r"model\.safetensors has sha256"):
        load_registered(root, f"models:/{NAME}@challenger")


def test_what_mlflow_loads_is_verified_too(root, registered):
    (weights,) = (root / "mlartifacts").rglob("model.safetensors")
    content = bytearray(weights.read_bytes())
    content[-1] ^= 1
    weights.write_bytes(content)
    with pytest.raises(IntegrityError, match=r"model\.safetensors has sha256"):
        load_challenger(root)


def test_a_pinned_version_stays_when_the_alias_moves(root, registered, tmp_path, make_model):
    folder, _ = registered
    pinned = resolve_registered(root, f"models:/{NAME}@challenger")
    register(root, make_model(tmp_path / "b" / "superresolver", seed=2))
    assert (pinned.uri, pinned.sha256) == (f"models:/{NAME}/1", digest(folder))
    lr = np.random.default_rng(0).random((1, BANDS, 4, 4), dtype=np.float32)
    np.testing.assert_array_equal(load_pinned(root, pinned).predict(lr), PcaResidual.load(folder).predict(lr))
    assert resolve_registered(root, f"models:/{NAME}@challenger").version == "2"


@pytest.mark.parametrize(
    ("uri", "message"),
    [
        ("models:/nothing@challenger", f"Registered models: {NAME}"),
        (f"models:/{NAME}@champion", "champion"),
        (f"models:/{NAME}/7", "7"),
        ("models:/nonsense", "expected models:/<name>@<alias>"),
    ],
)
def test_a_model_that_is_not_there_is_named(root, registered, uri, message):
    with pytest.raises(MissingInputError, match=message):
        load_registered(root, uri)


def test_an_empty_registry_has_no_uri(root):
    assert registered_uri(root, NAME) is None


@dataclass(frozen=True)
class Sum:
    """A fusion by hand: every LR pixel repeated, and the mean of the HR-MSI on top."""

    bands: int | None = BANDS
    msi_bands: int | None = 3
    scale: int = 2
    nfe: int = 0
    name: str = "sum"

    def predict(self, lr, *, msi=None, origin=(0, 0)):
        check_input(lr, bands=self.bands)
        fine = check_msi(msi, lr, scale=self.scale, bands=self.msi_bands)
        return lr.repeat(self.scale, axis=2).repeat(self.scale, axis=3) + fine.mean(axis=1, keepdims=True)


@pytest.fixture
def load(root, tmp_path, monkeypatch):
    """``load(model)`` registers a folder that stands for the model, and loads it as MLflow does."""

    def load(model):
        monkeypatch.setattr(hsipipe, "load_model", lambda folder: model)
        folder = tmp_path / "superresolver"
        with publish(folder) as out:
            (out / "config.json").write_text("{}")
        assert register(root, folder, model) == 1
        return load_challenger(root)

    return load


def load_challenger(root):
    with global_store(root):
        return mlflow.pyfunc.load_model(f"models:/{NAME}@challenger")


def pair(bands=BANDS, msi_bands=3):
    rng = np.random.default_rng(0)
    shapes = {"lr": (2, bands, 4, 5), "msi": (2, msi_bands, 8, 10)}
    return {name: rng.random(shape, dtype=np.float32) for name, shape in shapes.items()}


def described(schema):
    return [(spec.name, spec.shape, spec.type) for spec in schema]


def test_a_fusion_model_takes_two_named_tensors(load):
    loaded = load(Sum())
    float32 = np.dtype("float32")
    assert described(loaded.metadata.signature.inputs) == [
        ("lr", (-1, BANDS, -1, -1), float32),
        ("msi", (-1, 3, -1, -1), float32),
    ]
    assert described(loaded.metadata.signature.outputs) == [(None, (-1, BANDS, -1, -1), float32)]
    example = loaded.input_example
    assert {name: np.shape(values) for name, values in example.items()} == {
        "lr": (1, BANDS, 8, 8),
        "msi": (1, 3, 16, 16),
    }
    np.testing.assert_array_equal(loaded.predict(pair()), Sum().predict(pair()["lr"], msi=pair()["msi"]))


class SumWithSamples(Spreads, Sum):
    """The same with samples."""


def test_statistics_of_samples_are_parameters(load):
    loaded, given = load(SumWithSamples()), pair()
    mean = loaded.predict(given)
    std = loaded.predict(given, params={"samples": 8, "statistic": "std"})
    low = loaded.predict(given, params={"samples": 8, "statistic": "q0.05"})
    np.testing.assert_array_equal(mean, SumWithSamples().predict(given["lr"], msi=given["msi"]))
    np.testing.assert_allclose(std, 0.08)
    np.testing.assert_allclose(mean - low, 2 * 1.8946 * 0.08, rtol=1e-3)
    with pytest.raises(ParamsError, match="Got 0 sample"):
        loaded.predict(given, params={"statistic": "std"})


def test_a_model_of_any_bands_says_so(load):
    loaded = load(Sum(bands=None, msi_bands=None))
    assert [spec.shape for spec in loaded.metadata.signature.inputs] == [(-1, -1, -1, -1)] * 2
    given = pair(bands=5, msi_bands=1)
    np.testing.assert_array_equal(loaded.predict(given), Sum(None, None).predict(given["lr"], msi=given["msi"]))


def test_a_pair_without_one_of_its_images_is_refused(load):
    loaded = load(Sum())
    with pytest.raises(mlflow.exceptions.MlflowException, match="msi"):
        loaded.predict({"lr": pair()["lr"]})
    inner = loaded.unwrap_python_model()
    with pytest.raises(ModelInputError, match=r"Got a dict of \['lr'\], expected a dict of two arrays, lr .* and msi"):
        inner.predict(None, {"lr": pair()["lr"]})
    with pytest.raises(ModelInputError, match="Got a ndarray, expected a dict of two arrays"):
        inner.predict(None, pair()["lr"])
    with pytest.raises(ModelInputError, match="an HR-MSI of 8 x 9 pixels"):
        loaded.predict({"lr": pair()["lr"], "msi": pair()["msi"][:, :, :, :-1]})


def test_a_single_image_model_takes_one_tensor_without_a_name(root, registered):
    loaded = load_challenger(root)
    assert described(loaded.metadata.signature.inputs) == [(None, (-1, BANDS, -1, -1), np.dtype("float32"))]
    assert np.shape(loaded.input_example) == (1, BANDS, 8, 8)
    lr = pair()["lr"]
    np.testing.assert_array_equal(loaded.predict(lr), PcaResidual.load(registered[0]).predict(lr))
    with pytest.raises(ModelInputError, match="Got a dict, expected a numpy array"):
        loaded.unwrap_python_model().predict(None, {"lr": lr})


@pytest.mark.parametrize(
    "uri",
    [
        "models:/",
        "models:/@challenger",
        f"models:/{NAME}",
        f"models:/{NAME}@",
        f"models:/{NAME}/0",
        f"models:/{NAME}/-1",
        f"models:/{NAME}/9",
        f"models:/{NAME}/\u0661",
        f"models:/{NAME}/{'9' * 40}",
        f"models:/{NAME}@challenger/../../1",
        "models:/../../etc/passwd@challenger",
        "models:/..%2F..%2Fetc/1",
        "models://host/name@challenger",
        "models:/x' or name like '%@challenger",
        "models:/a\0b@challenger",
        f"models:/{'n' * 3000}@challenger",
    ],
)
def test_a_name_that_means_no_model_is_one_clear_error_whatever_is_in_it(root, registered, uri):
    with pytest.raises(MissingInputError, match="model"):
        load_registered(root, uri)
