"""Rows of the result table: a method, optionally with another seed or another number of sampling steps."""

from dataclasses import dataclass
from typing import Self

from hsipipe.errors import ParamsError
from hsipipe.params import Params, SamplingParams

_SEED, _STEPS = "seed", "steps"


@dataclass(frozen=True)
class Row:
    """A trained and evaluated method.

    Attributes:
        method: Name in the catalogue.
        seed: Seed of the training; None: the seed of the settings.
        steps: Sampling steps; None: those of `sampling`.
    """

    method: str
    seed: int | None = None
    steps: int | None = None

    @classmethod
    def parse(cls, text: str) -> Self:
        """Parse a name; inverse of :attr:`name`.

        Raises:
            ParamsError: The part after the @ is neither a seed nor a number of steps.
        """
        method, *variants = text.split("@")
        numbers: dict[str, int] = {}
        for variant in variants:
            kind, _, number = variant.partition("-")
            if kind not in (_SEED, _STEPS) or not number.isdigit():
                raise ParamsError(f"Got {text!r}, expected METHOD, METHOD@seed-NUMBER or METHOD@steps-NUMBER.")
            numbers[kind] = int(number)
        return cls(method, **numbers)

    @property
    def name(self) -> str:
        """Name of the row, and of its folders: ``dmgasr``, ``dmgasr@seed-1``, ``dmgasr@steps-20``."""
        variants = {_SEED: self.seed, _STEPS: self.steps}
        return self.method + "".join(f"@{kind}-{number}" for kind, number in variants.items() if number is not None)

    @property
    def trained(self) -> str:
        """Name of the training of this row; rows that differ only in sampling steps share one."""
        return Row(self.method, self.seed).name

    def sampling(self, sampling: SamplingParams) -> SamplingParams:
        """Return the sampling of this row."""
        own = sampling.of(self.method)
        return own.model_copy(
            update={
                "steps": own.steps if self.steps is None else self.steps,
                "seed": own.seed if self.seed is None else self.seed,
            }
        )


def table_rows(params: Params) -> dict[str, list[Row]]:
    """Return the rows that each row of the table averages: a method with its seeds, or other sampling steps."""
    rows = {name: [Row(name), *(Row(name, seed) for seed in params.seeds)] for name in params.compare}
    steps = [Row(name, steps=value) for name in params.steps.methods for value in params.steps.values]
    return rows | {row.name: [row] for row in steps}


def all_rows(params: Params) -> list[Row]:
    """Return all evaluated rows, in the order of the table."""
    return [row for group in table_rows(params).values() for row in group]
