"""What params.yaml may say, and how a mistake in it is told."""

import ast
import re
from pathlib import Path

import pytest
import yaml
from pydantic import ValidationError

from hsipipe import params as module
from hsipipe.errors import MissingInputError, ParamsError, UnknownNameError
from hsipipe.methods.catalogue import autoencoders, entries, gae_settings, method_settings
from hsipipe.params import Group, Params, inherited, load_params, parse_params

FILE = Path(__file__).resolve().parents[2] / "params.yaml"


@pytest.fixture
def tree():
    """What the project's own params.yaml says."""
    return yaml.safe_load(FILE.read_text(encoding="utf-8"))


def change(tree, key, value):
    *groups, last = key.split(".")
    for group in groups:
        tree = tree[group]
    tree[last] = value


def refusal(tree):
    with pytest.raises(ParamsError) as caught:
        parse_params(tree, source="params.yaml")
    message = str(caught.value)
    assert message.startswith("params.yaml: ")
    assert "\n" not in message
    return message


def test_the_projects_file_is_read(tree):
    read = load_params(FILE)
    assert read == parse_params(tree)
    assert read.degradation.scale == tree["degradation"]["scale"]


def test_params_cannot_be_changed():
    with pytest.raises(ValidationError, match="frozen"):
        load_params(FILE).protocol = "other"


@pytest.mark.parametrize(
    ("key", "nearest"),
    [
        ("degradation.scal", "did you mean 'scale'?"),
        ("sampling.step", "did you mean 'steps'?"),
        ("samplng", "did you mean 'sampling'?"),
        ("hardware.colour", "known here: accelerator, compile, devices, precision"),
    ],
)
def test_an_unknown_key_names_the_nearest(tree, key, nearest):
    change(tree, key, 1)
    assert refusal(tree) == f"params.yaml: unknown key {key!r}{', ' if nearest[0] == 'd' else '; '}{nearest}."


def test_a_missing_key_is_named(tree):
    del tree["dataset"]["synthetic"]["bands"]
    assert refusal(tree) == "params.yaml: missing key 'dataset.synthetic.bands'."


def test_every_mistake_is_told_at_once(tree):
    del tree["protocol"]
    change(tree, "split.seed", -1)
    message = refusal(tree)
    assert "missing key 'protocol'" in message
    assert "split.seed: " in message


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("degradation.scale", "four"),
        ("degradation.scale", 0),
        ("degradation.task", "denoising"),
        ("degradation.scale", 2.5),
        ("gate.max_latency_ratio", float("nan")),
        ("gate.max_latency_ratio", float("inf")),
        ("split.by", "pixel"),
        ("split.test_scenes", "balloons"),
        ("compare", []),
        ("compare", "edsr"),
        ("methods", ["edsr"]),
        ("hardware.precision", None),
        ("sampling", 3),
        ("sampling.samples", 0),
        ("sampling.sampler", "dpmpp"),
    ],
)
def test_a_value_that_does_not_fit_is_named_and_shown(tree, key, value):
    change(tree, key, value)
    message = refusal(tree)
    assert message.startswith(f"params.yaml: {key}: ")
    assert f"got {value!r}" in message


@pytest.mark.parametrize(("name", "value"), [("size", 26), ("stride", 22)])
def test_patches_are_multiples_of_the_scale(tree, name, value):
    tree["patches"] |= {"size": 24, "stride": 24, name: value}
    tree["degradation"]["scale"] = 4
    assert f"patches.{name} ({value}) must be a multiple of degradation.scale (4)" in refusal(tree)


@pytest.mark.parametrize(
    ("group", "values", "says"),
    [
        ("sampling", {"tile": 16, "overlap": 8}, "sampling: overlap (8) must be less than half of tile (16)"),
        ("split", {"val": 0.5, "test": 0.5}, "split: val (0.5) and test (0.5) together must be less than 1"),
        ("patches", {"size": 24, "stride": 32}, "patches: stride (32) must not exceed size (24)"),
    ],
)
def test_values_that_contradict_each_other(tree, group, values, says):
    tree[group] |= values
    assert says in refusal(tree)


@pytest.mark.parametrize(
    ("values", "says"),
    [
        ({"n_subs": 4, "n_ovls": 4}, ": n_ovls (4) must be smaller than n_subs (4)"),
        ({"window_nm": 80.0, "global_decoder": True}, ": window_nm (80) needs global_decoder: false"),
        ({"n_subs": "all", "n_ovls": 2}, ": n_ovls (2) must be 0 with n_subs: all"),
        (
            {"encoder": "identity", "n_subs": 4, "global_decoder": False, "linear_path": False},
            ": encoder: identity keeps every band of a group, so latent_channels (3) must be n_subs (4) or all",
        ),
        (
            {"encoder": "identity", "latent_channels": "all"},
            ": encoder: identity has no decoder: set global_decoder and linear_path to false",
        ),
        ({"n_subs": "al"}, ".n_subs: expected a positive number or the word all, got 'al'"),
        ({"latent_channels": 0}, ".latent_channels: expected a positive number or the word all, got 0"),
        ({"loss": {"ssam": 1.0}}, ".loss.ssam', did you mean 'sam'?"),
        ({"widht": 8}, ".widht', did you mean 'width'?"),
    ],
)
def test_the_settings_of_an_autoencoder_are_checked_with_those_that_it_inherits(tree, values, says):
    """The same text names the entry that a person has written."""
    tree["gae"]["pixels-3"] = values
    params = parse_params(tree)
    with pytest.raises(ParamsError) as caught:
        gae_settings(params, "pixels-3")
    assert f"gae.pixels-3{says}" in str(caught.value)
    assert gae_settings(params, "standard").n_subs == 8


@pytest.mark.parametrize(
    ("key", "value", "says"),
    [
        ("components", 0, "methods.pca-residual.components: Input should be greater than 0, got 0"),
        ("component", 3, "unknown key 'methods.pca-residual.component', did you mean 'components'?"),
        ("optimizer.step", 3, "unknown key 'methods.pca-residual.optimizer.step', did you mean 'steps'?"),
        ("optimizer.lr", "nan", "methods.pca-residual.optimizer.lr: "),
    ],
)
def test_the_settings_of_a_method_are_checked(tree, key, value, says):
    change(tree["methods"]["pca-residual"], key, value)
    with pytest.raises(ParamsError, match=re.escape(says)):
        method_settings(parse_params(tree), "pca-residual")


def test_a_missing_setting_of_a_method_is_named(tree):
    del tree["methods"]["pca-residual"]["optimizer"]["ema"]
    with pytest.raises(ParamsError, match=r"missing key 'methods\.pca-residual\.optimizer\.ema'"):
        method_settings(parse_params(tree), "pca-residual")


def test_a_seed_takes_the_place_of_the_one_in_the_settings_where_there_is_one(tree):
    params = parse_params(tree)
    assert method_settings(params, "pca-residual", seed=7).seed == 7
    assert method_settings(params, "bicubic", seed=7).model_dump() == {}


def test_an_entry_starts_from_the_one_that_it_is_like():
    entries = {"a": {"width": 8, "net": {"depth": 1, "heads": [1, 2]}}, "b": {"net": {"heads": [4]}}}
    assert inherited(entries, "b", "a") == {"width": 8, "net": {"depth": 1, "heads": [4]}}
    assert inherited(entries, "a", "a") == entries["a"]
    assert entries["b"] == {"net": {"heads": [4]}}


@pytest.mark.parametrize(("name", "like"), [("b", "a"), ("a", "b")])
def test_an_entry_that_is_not_there_is_named(name, like):
    with pytest.raises(ParamsError, match="no settings for 'b'; known: a"):
        inherited({"a": {}}, name, like)


def test_every_entry_of_the_catalogue_has_settings_that_fit(tree):
    params = parse_params(tree)
    assert set(tree["methods"]) == set(entries())
    assert set(tree["gae"]) == set(autoencoders())
    for name in entries():
        method_settings(params, name)
    for name in autoencoders():
        gae_settings(params, name)


def test_an_unknown_method_names_the_closest(tree):
    with pytest.raises(UnknownNameError, match="Did you mean 'edsr'"):
        method_settings(parse_params(tree), "edrs")


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"compare": ["edsr", "bicubic", "edsr"]}, "compare lists edsr more than once"),
        ({"seeds": [1, 2, 1]}, "seeds lists 1 more than once"),
        ({"steps": {"methods": ["dmgasr"], "values": [4, 4]}}, "steps lists 4 more than once"),
        ({"steps": {"methods": ["hsrdiff"], "values": [4]}}, "steps.methods lists hsrdiff, which compare does not"),
        ({"seeds": [-1]}, "seeds.0: Input should be greater than or equal to 0, got -1"),
        ({"steps": {"methods": ["dmgasr"], "values": [0]}}, "steps.values.0: Input should be greater than 0, got 0"),
        ({"gae": {"standard": 3}}, "gae.standard: Input should be a valid dictionary, got 3"),
    ],
)
def test_rows_can_be_told_apart(tree, changes, says):
    assert says in refusal(tree | changes)


DENOISE = {"task": "denoise", "scale": 1, "psf.kind": "none", "snr_db.lr": 20.0}
DEBLUR = {"task": "deblur", "scale": 1, "psf.kind": "gaussian", "psf.sigma": 1.5}


def set_task(tree, values, *, consistency=0):
    tree["sampling"]["consistency"] = consistency
    for key, value in values.items():
        change(tree, f"degradation.{key}", value)


@pytest.mark.parametrize("values", [DENOISE, DEBLUR, DEBLUR | {"snr_db.lr": 30.0}])
def test_degradations_on_the_grid_of_the_truth(tree, values):
    set_task(tree, values)
    assert parse_params(tree).degradation.task == values["task"]


@pytest.mark.parametrize(
    ("values", "says"),
    [
        ({"scale": 1}, "task super-resolution, scale must be 2 or more; input and truth with pixels of one size are"),
        ({"psf.kind": "none"}, "task super-resolution, psf.kind must be bicubic or gaussian or average, got none"),
        (DENOISE | {"scale": 4}, "task denoise, scale must be 1, got 4"),
        (DENOISE | {"psf.kind": "bicubic"}, "task denoise, psf.kind must be none, got bicubic"),
        (DENOISE | {"psf.kind": "gaussian", "psf.sigma": 1.0}, "task denoise, psf.kind must be none, got gaussian"),
        (DENOISE | {"snr_db.lr": None}, "task denoise, snr_db.lr must be a number of dB, got null"),
        (DEBLUR | {"scale": 2}, "task deblur, scale must be 1, got 2"),
        (DEBLUR | {"psf.kind": "bicubic", "psf.sigma": None}, "task deblur, psf.kind must be gaussian, got bicubic"),
        (
            {"task": "denoise"},
            "scale must be 1, got 4, and psf.kind must be none, got bicubic, and snr_db.lr must be a number of dB",
        ),
    ],
)
def test_a_degradation_that_is_not_that_of_the_task(tree, values, says):
    set_task(tree, values)
    message = refusal(tree)
    assert message.startswith("params.yaml: degradation: with task ")
    assert says in message


def test_back_projection_would_put_the_noise_back(tree):
    set_task(tree, DENOISE, consistency=2)
    assert "sampling.consistency (2) must be 0 with degradation.task denoise: back-projection" in refusal(tree)


def test_a_deblurred_image_may_be_drawn_to_its_input(tree):
    set_task(tree, DEBLUR, consistency=2)
    assert parse_params(tree).sampling.consistency == 2


@pytest.mark.parametrize(("text", "kind"), [("- a\n- b\n", "list"), ("", "NoneType"), ("4\n", "int")])
def test_a_file_that_holds_no_groups(tmp_path, text, kind):
    path = tmp_path / "params.yaml"
    path.write_text(text)
    with pytest.raises(ParamsError, match=f"must hold groups of keys, got {kind}"):
        load_params(path)


def test_a_file_that_is_no_yaml_is_told_in_one_line(tmp_path):
    path = tmp_path / "params.yaml"
    path.write_text("dataset: [unclosed\nsplit: {")
    with pytest.raises(ParamsError, match=r"is not YAML: .*line 2") as caught:
        load_params(path)
    assert "\n" not in str(caught.value)


def test_a_missing_file_says_where_to_stand(tmp_path):
    with pytest.raises(MissingInputError, match=r"No params\.yaml in .*; run this in the project's folder"):
        load_params(tmp_path / "params.yaml")


def groups_in_source():
    for file in sorted(Path(module.__file__).parent.glob("*.py")):
        for node in ast.parse(file.read_text(encoding="utf-8")).body:
            if isinstance(node, ast.ClassDef) and issubclass(getattr(module, node.name), Group):
                yield node


def test_every_field_is_explained_below_it():
    explained, unexplained = set(), []
    for node in groups_in_source():
        for field, below in zip(node.body, [*node.body[1:], None], strict=True):
            if not isinstance(field, ast.AnnAssign):
                continue
            key = f"{node.name}.{field.target.id}"
            text = below.value if isinstance(below, ast.Expr) else None
            # A field that is a group of its own is explained by its class.
            own = isinstance(field.annotation, ast.Name) and is_group(field.annotation.id)
            explained.add(key)
            if not own and not (isinstance(text, ast.Constant) and isinstance(text.value, str)):
                unexplained.append(key)
    assert "SamplingParams.steps" in explained
    assert unexplained == []


def is_group(name):
    kind = getattr(module, name, None)
    return isinstance(kind, type) and issubclass(kind, Group) and bool(kind.__doc__)


def test_the_source_shows_every_field():
    shown = {node.name: [f.target.id for f in node.body if isinstance(f, ast.AnnAssign)] for node in groups_in_source()}
    assert shown["Params"] == list(Params.model_fields)
