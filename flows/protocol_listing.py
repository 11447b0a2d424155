"""The protocols for people: what there is, and what one fixes as overrides of params.yaml."""

from rich.table import Table

from hsipipe.errors import ParamsError
from hsipipe.protocols import PROTOCOLS, setup_of
from tasks.overrides import as_overrides


def protocol_table() -> Table:
    """Name, data sets, scales and title of every protocol."""
    table = Table(box=None, pad_edge=False)
    for heading in ("name", "dataset", "scales", "what it is"):
        table.add_column(heading, no_wrap=heading != "what it is")
    for name, protocol in PROTOCOLS.items():
        scales = {dataset: ",".join(map(str, setup.scales)) for dataset, setup in protocol.setups.items()}
        scales = scales or {"any": "any"}
        table.add_row(name, "\n".join(scales), "\n".join(scales.values()), protocol.title)
    return table


def protocol_overrides(name: str, *, dataset: str | None, scale: int | None) -> list[str]:
    """What must be set for a published protocol.

    Args:
        name: A name of the registry.
        dataset: Which data set; None: the protocol's first.
        scale: Which ratio; None: the one nearest to 4.

    Raises:
        UnknownNameError: No protocol has this name.
        ParamsError: It is not defined on the data set or scale.
    """
    chosen = dataset or next(iter(PROTOCOLS[name].setups), "")
    setup = setup_of(name, chosen)
    ratio = min(setup.scales, key=lambda s: abs(s - 4)) if scale is None else scale
    if ratio not in setup.scales:
        raise ParamsError(
            f"Protocol {name!r} on {chosen!r} has the scales {', '.join(map(str, setup.scales))}, got {ratio}."
        )
    fixed = {"protocol": name, "dataset.name": chosen, "degradation.scale": ratio}
    return as_overrides(fixed | dict(setup.pins))
