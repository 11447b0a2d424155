import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hsipipe.errors import DataError
from hsipipe.methods.networks.groups import plan_groups


@pytest.mark.parametrize(("bands", "n_subs", "n_ovls", "count"), [(102, 16, 4, 9), (128, 16, 4, 11), (31, 8, 2, 5)])
def test_published_group_counts(bands, n_subs, n_ovls, count):
    assert plan_groups(bands, n_subs=n_subs, n_ovls=n_ovls).count == count


@given(bands=st.integers(1, 300), n_subs=st.integers(1, 40), overlap=st.integers(0, 39))
def test_every_band_is_in_a_group_and_no_group_leaves_the_cube(bands, n_subs, overlap):
    n_subs = min(n_subs, bands)
    n_ovls = overlap % n_subs
    plan = plan_groups(bands, n_subs=n_subs, n_ovls=n_ovls)
    covered = {band for start in plan.starts for band in range(start, start + n_subs)}
    assert covered == set(range(bands))
    assert plan.starts[-1] + n_subs == bands
    assert plan.count == max(1, math.ceil((bands - n_ovls) / (n_subs - n_ovls)))
    assert len(set(plan.starts)) == plan.count


@pytest.mark.parametrize("bands", [1, 31, 102])
def test_the_word_all_makes_one_group_of_every_band(bands):
    plan = plan_groups(bands, n_subs="all", n_ovls=0)
    assert (plan.count, plan.n_subs, plan.starts) == (1, bands, (0,))


def test_too_few_bands_say_what_to_set():
    with pytest.raises(DataError, match=r"has 5 bands, a group needs 8 \(n_subs\)"):
        plan_groups(5, n_subs=8, n_ovls=2)
