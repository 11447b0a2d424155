import pytest
from hypothesis import given
from hypothesis import strategies as st

from hsipipe.credentials import public, without_credentials


def test_an_address_is_shown_without_secrets():
    assert public("https://user:pw@host:80/a/b.zip?token=1#x") == "https://host:80/a/b.zip"
    assert public("/mnt/usb/b.zip") == "/mnt/usb/b.zip"


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("postgresql://user:s3cret@host/db", "postgresql://***@host/db"),
        ("postgresql+asyncpg://user:s3cret@/db?host=/run/pg", "postgresql+asyncpg://***@/db?host=/run/pg"),
        ("https://s3cret@host", "https://***@host"),
        ("mysql://user:with/slash#s3cret@host/db", "mysql://***@host/db"),
        ("for url 'http://u:s3cret@h:80/x', and https://v:s3cret@i.", "for url 'http://***@h:80/x', and https://***@i."),
        ("postgresql://host/db?user=me&password=s3cret&sslmode=require",
         "postgresql://host/db?user=me&password=***&sslmode=require"),
        ("host=localhost password=s3cret dbname=x", "host=localhost password=*** dbname=x"),
        ("https://b.s3.example/k?X-Amz-Signature=s3cret&x=1", "https://b.s3.example/k?X-Amz-Signature=***&x=1"),
    ],
)  # fmt: skip
def test_credentials_of_addresses_are_hidden_wherever_they_stand(text, shown):
    assert without_credentials(text) == shown


@pytest.mark.parametrize(
    "text",
    [
        "models:/hsipipe-synthetic-x4@challenger",
        "sqlite:////srv/hsipipe/mlflow.db",
        "http://127.0.0.1:4200/flow-runs/name@host",
        "see https://example.org/a and write to me@example.org",
        "band 7 of /data/a@b/cube.npy is dead",
    ],
)
def test_what_holds_none_stays_as_it_is(text):
    assert without_credentials(text) == text


@given(st.text(alphabet=st.characters(exclude_characters="@", exclude_categories=["Z", "C"]), min_size=6))
def test_no_password_survives_in_an_address(password):
    marked = f"x{password}y"  # not a port
    assert marked not in without_credentials(f"cannot reach postgresql://user:{marked}@host:5432/db: no route")
