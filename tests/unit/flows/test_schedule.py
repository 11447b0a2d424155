"""When a schedule runs: in the time zone of the machine, unless another one is named."""

import time
from datetime import datetime
from zoneinfo import ZoneInfo

import pytest
import tzlocal.unix

from flows import schedule
from flows.schedule import check_cron, local_timezone
from hsipipe.errors import HsipipeError, ParamsError


@pytest.fixture
def in_zone(monkeypatch):
    def use(name):
        monkeypatch.setenv("TZ", name)
        time.tzset()
        for cache in ("_cache_tz", "_cache_tz_name"):
            monkeypatch.setattr(tzlocal.unix, cache, None)

    yield use
    monkeypatch.undo()
    time.tzset()


@pytest.fixture
def served(monkeypatch):
    """The schedule that Prefect is given."""
    import prefect

    found = []
    monkeypatch.setattr(prefect, "serve", lambda deployment, **_: found.append(deployment.schedules[0].schedule))
    return found


@pytest.mark.parametrize("zone", ["Asia/Tokyo", "America/New_York", "UTC"])
def test_two_at_night_is_local_time(in_zone, served, zone):
    in_zone(zone)
    schedule.serve("pipeline", interval_s=None, cron="0 2 * * *")
    (found,) = served
    assert (found.cron, found.timezone) == ("0 2 * * *", zone)


def test_another_time_zone_can_be_named(in_zone, served):
    in_zone("Asia/Tokyo")
    schedule.serve("retrain", interval_s=None, cron="0 2 * * *", timezone="Europe/Berlin")
    assert served[0].timezone == "Europe/Berlin"


def test_an_interval_has_no_time_zone(served):
    schedule.serve("pipeline", interval_s=60, cron=None)
    assert served[0].interval.total_seconds() == 60


def test_local_time_without_a_name_is_asked_for_instead_of_guessed(in_zone):
    in_zone("Asia/Tokyo")
    name = local_timezone()
    assert datetime.now(ZoneInfo(name)).utcoffset() == datetime.now().astimezone().utcoffset()
    in_zone("JST-9")
    with pytest.raises(ParamsError, match="give --timezone"):
        local_timezone()


@pytest.mark.parametrize(
    ("cron", "zone", "message"),
    [
        ("bad cron", "UTC", "five fields"),
        ("0 2 * * *", "Mars/Olympus", "Europe/Berlin or UTC, got 'Mars/Olympus'"),
        ("0 2 * * *", "", "got ''"),
    ],
)
def test_a_schedule_is_checked_before_a_server_starts(cron, zone, message):
    check_cron("0 2 * * *", "Asia/Tokyo")
    with pytest.raises(ParamsError, match=message):
        check_cron(cron, zone)


def test_what_a_server_that_cannot_start_says_is_printed(monkeypatch, tmp_path, capsys):
    class Dead:
        returncode = 3

        def poll(self):
            return self.returncode

    def start(*command, stdout, **_):
        stdout.write("the database is locked\n")
        return Dead()

    monkeypatch.delenv("PREFECT_API_URL", raising=False)
    monkeypatch.setattr(schedule, "start", start)
    monkeypatch.setattr(schedule, "end_group", lambda child: None)
    with pytest.raises(HsipipeError, match="exit code 3; its message is above"), schedule.server(tmp_path):
        pass
    assert "the database is locked" in capsys.readouterr().err
