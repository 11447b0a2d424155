"""Compute the bands of each group: index arithmetic only (arXiv 2402.17285, section 3.1)."""

from dataclasses import dataclass
from typing import Literal

from hsipipe.errors import DataError


@dataclass(frozen=True)
class GroupPlan:
    """Groups of `n_subs` adjacent bands; neighbours share `n_ovls` bands, and the last group ends at the last band.

    Attributes:
        bands: Band count C.
        n_subs: Bands in a group.
        starts: First band of each of the G groups.
    """

    bands: int
    n_subs: int
    starts: tuple[int, ...]

    @property
    def count(self) -> int:
        """Number of groups G."""
        return len(self.starts)


def plan_groups(bands: int, *, n_subs: int | Literal["all"], n_ovls: int) -> GroupPlan:
    """Divide `bands` into G = ceil((C - n_ovls) / (n_subs - n_ovls)) groups; `all` makes one group of all bands.

    Raises:
        DataError: The cube has fewer bands than a group.
    """
    if n_subs == "all":
        n_subs, n_ovls = bands, 0
    if bands < n_subs:
        raise DataError(
            f"The cube has {bands} bands, a group needs {n_subs} (n_subs); "
            f"set n_subs to {bands} or less and n_ovls below it."
        )
    step = n_subs - n_ovls
    count = max(1, -((n_ovls - bands) // step))
    starts = tuple(min(step * group, bands - n_subs) for group in range(count))
    return GroupPlan(bands=bands, n_subs=n_subs, starts=starts)
