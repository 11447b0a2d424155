"""Building blocks of the groups in params.yaml."""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, PlainValidator

Positive = Annotated[int, Field(gt=0)]
NonNegative = Annotated[int, Field(ge=0)]
Fraction = Annotated[float, Field(gt=0, lt=1)]
Sampler = Literal["ddim", "ancestral", "dpmpp_2m"]


def _count_or_all(value: Any) -> Any:
    # One message: a union would complain once for each of its members.
    if value == "all" or (isinstance(value, int) and not isinstance(value, bool) and value > 0):
        return value
    raise ValueError(f"expected a positive number or the word all, got {value!r}")


CountOrAll = Annotated[int | Literal["all"], PlainValidator(_count_or_all)]


class Group(BaseModel):
    """A group of params.yaml: immutable, unknown keys refused."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)
