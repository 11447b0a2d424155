"""Damaged files and a loss that is not finite: named, never used, and the same results afterwards."""

import pytest

# The time covers the first run of the project, which one of these tests has to wait for.
pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]


@pytest.mark.parametrize("name", ["damaged shard of patches", "damaged download", "loss not finite"])
def test_damage_is_one_clear_line(endure, name):
    assert endure(name).startswith("error: ")


@pytest.mark.parametrize("name", ["damaged resume point", "damaged entry of DVC's cache"])
def test_what_can_be_made_again_is_made_again(endure, name):
    endure(name)
