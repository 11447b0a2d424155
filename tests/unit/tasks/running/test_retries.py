import pytest

from hsipipe.errors import ParamsError
from tasks.running.retries import retry_delay_s


def test_ten_seconds_unless_the_environment_says_otherwise(monkeypatch):
    monkeypatch.delenv("HSIPIPE_RETRY_S", raising=False)
    assert retry_delay_s() == 10
    monkeypatch.setenv("HSIPIPE_RETRY_S", "0.5")
    assert retry_delay_s() == 0.5


@pytest.mark.parametrize("text", ["soon", "-1", "inf", "nan", ""])
def test_what_is_no_time_is_refused(monkeypatch, text):
    monkeypatch.setenv("HSIPIPE_RETRY_S", text)
    with pytest.raises(ParamsError, match="HSIPIPE_RETRY_S"):
        retry_delay_s()
