"""Cubes in S3, from a server that speaks it: the bytes of the windows alone."""

import numpy as np
import pytest
from server_fixtures import s3_on

from hsipipe.errors import MissingInputError, UnreachableError
from hsipipe.formats import open_cube, save_cube
from hsipipe.formats.base import make_cube
from hsipipe.formats.digest import source_digest
from hsipipe.storage import ranges
from hsipipe.storage.urls import Url

pytestmark = pytest.mark.slow
KEYS = {"AWS_ACCESS_KEY_ID": "key", "AWS_SECRET_ACCESS_KEY": "secret", "AWS_DEFAULT_REGION": "us-east-1"}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A scene as GeoTIFF and Zarr."""
    path = tmp_path_factory.mktemp("scene")
    cube = make_cube(np.random.default_rng(0).random((6, 300, 260), dtype=np.float32), wavelength_nm=np.arange(6) + 500)
    save_cube(cube, path / "x.tif")
    save_cube(cube, path / "x.zarr")
    return path


@pytest.fixture(scope="module")
def bucket(folder, tmp_path_factory):
    """Address of a bucket with the scene, which the environment has the keys of."""
    boto3 = pytest.importorskip("boto3")
    with s3_on(tmp_path_factory.mktemp("s3"), "scenes", keys=KEYS) as endpoint, pytest.MonkeyPatch.context() as patch:
        for name, value in {**KEYS, "AWS_ENDPOINT_URL": endpoint}.items():
            patch.setenv(name, value)
        client = boto3.client("s3")
        for path in folder.rglob("*"):
            if path.is_file():
                client.upload_file(str(path), "scenes", path.relative_to(folder).as_posix())
        client.close()
        ranges.close_s3()
        yield "s3://scenes"
        ranges.close_s3()


@pytest.mark.parametrize("name", ["x.tif", "x.zarr"])
def test_a_cube_in_s3_is_the_file(bucket, folder, name):
    remote, local = open_cube(f"{bucket}/{name}"), open_cube(folder / name)
    np.testing.assert_array_equal(remote.values, local.values)
    np.testing.assert_array_equal(remote["wavelength_nm"], local["wavelength_nm"])
    assert source_digest(Url(f"{bucket}/{name}")) == source_digest(Url(f"{bucket}/{name}"))


def test_a_range_is_what_was_asked_for(bucket, folder):
    data = (folder / "x.tif").read_bytes()
    url = Url(f"{bucket}/x.tif")
    assert ranges.read_range(url, 100, 300) == data[100:300]
    assert ranges.read_range(url, len(data) - 5, len(data) + 100) == data[-5:]
    assert ranges.read_range(url, len(data) + 5, len(data) + 100) == b""
    assert ranges.read_suffix(url, 7) == data[-7:]
    assert ranges.state_of(url).size == len(data)


def test_what_is_not_there_is_said(bucket):
    with pytest.raises(MissingInputError, match=r"No file at s3://scenes/none\.tif"):
        open_cube(f"{bucket}/none.tif")
    with pytest.raises((MissingInputError, UnreachableError)):
        open_cube("s3://no-such-bucket/x.tif")
