import pytest

from hsipipe.errors import ParamsError, UnknownNameError
from hsipipe.params import load_params
from tasks.running.check_names import check_names, check_settings


@pytest.fixture
def params(repository):
    return load_params(repository / "params.yaml")


def test_the_names_of_params_yaml_are_known(params):
    check_names(params)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda p: {"dataset": p.dataset.model_copy(update={"name": "cvae"})}, "Did you mean 'cave'"),
        (lambda p: {"degradation": p.degradation.model_copy(update={"srf": "rgbb"})}, "Did you mean 'rgb'"),
        (lambda _: {"protocol": "defualt"}, "Did you mean 'default'"),
    ],
)
def test_a_misspelt_name_is_named_with_the_nearest(params, change, message):
    with pytest.raises(UnknownNameError, match=message):
        check_names(params.model_copy(update=change(params)))


def test_a_seed_that_a_method_has_already_would_count_twice(params):
    check_settings(params.model_copy(update={"seeds": [1, 2]}))
    with pytest.raises(ParamsError, match=r"seeds lists 0, which methods\.group-residual has already"):
        check_settings(params.model_copy(update={"seeds": [0, 1]}))
