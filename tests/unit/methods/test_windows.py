"""Where spectral windows lie, and what resampling to their nodes and back keeps."""

import re

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hsipipe.errors import DataError, ModelInputError
from hsipipe.methods.dmgasr.windows import plan_resampling, plan_windows
from hsipipe.methods.networks.groups import plan_groups

CAVE = np.arange(400.0, 701.0, 10.0)


def plan_cave(width_nm=80.0):
    return plan_windows(CAVE, width_nm=width_nm, n_subs=8, n_ovls=2)


def round_trip(resampling):
    return resampling.to_bands @ resampling.to_nodes


@st.composite
def sensors(draw, least=2, most=60):
    """Irregular centres."""
    steps = draw(st.lists(st.floats(1.0, 40.0), min_size=least - 1, max_size=most - 1))
    return 400.0 + np.concatenate([[0.0], np.cumsum(steps)])


@settings(deadline=None)  # a busy machine is no failure
@given(
    bands=st.integers(8, 150),
    spacing=st.floats(1.0, 30.0),
    n_subs=st.integers(2, 8),
    overlap=st.integers(0, 7),
)
def test_where_bands_are_even_the_windows_are_the_groups_by_number(bands, spacing, n_subs, overlap):
    n_ovls = overlap % n_subs
    nm = 400.0 + spacing * np.arange(bands)
    plan = plan_windows(nm, width_nm=n_subs * spacing, n_subs=n_subs, n_ovls=n_ovls)
    groups = plan_groups(bands, n_subs=n_subs, n_ovls=n_ovls)
    assert (plan.count, plan.bands) == (groups.count, bands)
    for window, start in enumerate(groups.starts):
        np.testing.assert_allclose(plan.nodes_nm(window), nm[start : start + n_subs], atol=1e-6 * spacing)
    np.testing.assert_allclose(round_trip(plan_resampling(plan, nm)), np.eye(bands), atol=1e-5)


@settings(deadline=None)  # a busy machine is no failure
@given(nm=sensors(), share=st.floats(0.05, 3.0), n_subs=st.integers(1, 9), overlap=st.integers(0, 8))
def test_any_sensor_is_served_by_its_own_windows(nm, share, n_subs, overlap):
    width = max(2 * np.median(np.diff(nm)), share * (nm[-1] - nm[0]))
    plan = plan_windows(nm, width_nm=width, n_subs=n_subs, n_ovls=overlap % n_subs)
    lows, highs = np.transpose(plan.edges_nm)
    spread = nm[-1] - nm[0] + (nm[1] - nm[0] + nm[-1] - nm[-2]) / 2
    np.testing.assert_allclose(highs - lows, min(width, spread))
    assert (lows[0], highs[-1]) == pytest.approx((nm[0] - (nm[1] - nm[0]) / 2, nm[-1] + (nm[-1] - nm[-2]) / 2))
    assert (lows[1:] <= highs[:-1] + 1e-5).all()
    resampling = plan_resampling(plan, nm)
    assert range(plan.count)[resampling.windows] == range(plan.count)
    for matrix in (resampling.to_nodes, resampling.to_bands):
        np.testing.assert_allclose(matrix.sum(axis=1), 1)
        assert matrix.min() >= 0


@settings(deadline=None)  # a busy machine is no failure
@given(steps=st.lists(st.floats(1.0, 20.0), min_size=4, max_size=60), n_ovls=st.integers(1, 7))
def test_a_straight_spectrum_survives_on_any_sensor_of_the_same_range(steps, n_ovls):
    """Linear resampling keeps it, as long as no window repeats its last node where another goes on."""
    plan = plan_windows(CAVE, width_nm=80.0, n_subs=8, n_ovls=n_ovls)
    nm = 400.0 + 300.0 * np.concatenate([[0.0], np.cumsum(steps)]) / sum(steps)
    np.testing.assert_allclose(round_trip(plan_resampling(plan, nm)) @ nm, nm, atol=0.2)


def test_without_overlap_a_band_between_two_windows_belongs_to_the_nearer_one():
    plan = plan_windows(np.arange(405.0, 560.0, 10.0), width_nm=80.0, n_subs=8, n_ovls=0)
    nm = np.array([405.0, 420.0, 440.0, 460.0, 478.0, 483.0, 500.0, 520.0, 540.0, 555.0])
    resampling = plan_resampling(plan, nm)
    assert (resampling.to_bands[4, 7], resampling.to_bands[5, 8]) == (1, 1)  # the last node of one, the first of two


def test_a_sensor_in_a_part_of_the_range_uses_the_windows_that_it_spans():
    nm = np.arange(460.0, 651.0, 10.0)
    resampling = plan_resampling(plan_cave(), nm)
    assert resampling.windows == slice(1, 4)
    assert resampling.to_nodes.shape == (24, 20)
    np.testing.assert_allclose(round_trip(resampling), np.eye(20), atol=1e-9)


def test_a_gap_is_bridged_linearly():
    nm = CAVE[(CAVE < 540) | (CAVE > 580)]
    resampling = plan_resampling(plan_cave(), nm)
    assert resampling.windows == slice(0, 5)
    nodes = np.concatenate([plan_cave().nodes_nm(window) for window in range(5)])
    np.testing.assert_allclose(resampling.to_nodes @ nm, nodes)


def test_where_windows_overlap_the_bands_are_averaged():
    resampling = plan_resampling(plan_cave(), CAVE)
    values = np.repeat(np.arange(5.0), 8)
    seen = resampling.to_bands @ values
    assert seen[5] == 0
    assert seen[6] == pytest.approx(0.5)  # 460 nm, in windows 0 and 1
    assert seen[30] == 4


@pytest.mark.parametrize(
    ("nm", "message"),
    [
        (np.arange(380.0, 701, 10), r"bands 1 to 2 \(380 to 390 nm\) of the cube's 33 .*isel\(band=slice\(2, 33\)\)"),
        (np.arange(400.0, 711, 10), r"band 32 \(710 nm\) of the cube's 32 .*isel\(band=slice\(0, 31\)\)"),
        (np.arange(430.0, 701, 10), r"bands 1 to 3 \(430 to 450 nm\) .* no window that its bands span"),
        (np.arange(380.0, 731, 10), r"bands 1 to 2 .* and bands 34 to 36 .*slice\(2, 33\)"),
        (np.arange(900.0, 1000, 10), r"trained on 395 to 705 nm, .* 10 bands from 900 to 990 nm span none"),
        ([500.0, 510.0, 520.0], "span none"),
        ([500.0], "span none"),
    ],
)
def test_bands_that_no_window_holds_are_named_and_how_to_leave_them_out(nm, message):
    with pytest.raises(ModelInputError, match=message):
        plan_resampling(plan_cave(), nm)


@settings(deadline=None)  # a busy machine is no failure
@given(nm=sensors(least=1), start=st.floats(-200.0, 200.0))
def test_the_bands_that_a_refusal_keeps_are_served(nm, start):
    try:
        plan_resampling(plan_cave(), nm + start)
    except ModelInputError as error:
        kept = re.search(r"slice\((\d+), (\d+)\)", str(error))
        if kept is not None:
            plan_resampling(plan_cave(), (nm + start)[int(kept[1]) : int(kept[2])])


@pytest.mark.parametrize(
    ("nm", "message"),
    [
        ([], "wavelengths are unknown"),
        ([500.0, np.nan, 520.0], "wavelength of band 2 is unknown"),
        ([500.0, 520.0, 510.0], r"band 3 \(510 nm\) follows 520 nm, expected increasing centres"),
        ([500.0, 500.0], r"band 2 \(500 nm\) follows 500 nm"),
    ],
)
def test_centres_must_be_known_and_increase(nm, message):
    with pytest.raises(DataError, match=message):
        plan_resampling(plan_cave(), nm)
    with pytest.raises(DataError, match=message + r".*dataset.folder.wavelength_nm"):
        plan_windows(nm, width_nm=80.0, n_subs=8, n_ovls=2)


@pytest.mark.parametrize(
    ("nm", "width", "message"),
    [(CAVE, 15.0, "31 bands lie 10 nm apart.*set it to n_subs times their distance, 80"), ([500.0], 80.0, "one band")],
)
def test_a_window_holds_two_bands(nm, width, message):
    with pytest.raises(DataError, match=message):
        plan_windows(nm, width_nm=width, n_subs=8, n_ovls=2)


def test_a_range_narrower_than_a_window_is_one_window():
    assert plan_cave(width_nm=1000.0).edges_nm == ((395.0, 705.0),)
