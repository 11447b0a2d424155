"""Presets and protocols as overrides ``group.key=value`` of params.yaml."""

from collections.abc import Sequence

from hsipipe.errors import ParamsError

_DATASET, _SCALE = "dataset.name", "degradation.scale"


def named_overrides(preset: str | None, protocol: str | None, own: Sequence[str] | None) -> list[str]:
    """Return the overrides of a preset, those of a protocol, and those of the user, which come last and win.

    Of a protocol on several data sets or scales, the one that the user's overrides name is taken.
    """
    chosen = list(own or [])
    fixed: list[str] = []
    if protocol is not None:
        said = {key.strip(): value for key, _, value in (override.partition("=") for override in chosen)}
        scale = said.get(_SCALE)
        if scale is not None and not scale.isdecimal():
            raise ParamsError(f"{_SCALE} must be a positive whole number, got {scale}.")
        fixed = protocol_overrides(protocol, dataset=said.get(_DATASET), scale=None if scale is None else int(scale))
    return [*preset_overrides(preset), *fixed, *chosen]


def preset_overrides(name: str | None) -> list[str]:
    """Return the overrides of a preset; empty for None.

    Raises:
        UnknownNameError: Unknown preset.
    """
    if name is None:
        return []
    from hsipipe.methods.presets import load_preset
    from hsipipe.params.overrides import as_overrides

    return as_overrides(load_preset(name))


def protocol_overrides(name: str, *, dataset: str | None, scale: int | None) -> list[str]:
    """Return the overrides that a protocol fixes.

    Args:
        name: Name of the protocol.
        dataset: Data set; None: the first one of the protocol.
        scale: Ratio of the pixel sizes; None: the one nearest to 4.

    Raises:
        UnknownNameError: Unknown protocol.
        ParamsError: The protocol is not defined on the data set or scale.
    """
    from hsipipe.params.overrides import as_overrides
    from hsipipe.protocols import PROTOCOLS, setup_of

    chosen = dataset or next(iter(PROTOCOLS[name].setups), "")
    setup = setup_of(name, chosen)
    ratio = min(setup.scales, key=lambda s: abs(s - 4)) if scale is None else scale
    if ratio not in setup.scales:
        raise ParamsError(
            f"Protocol {name!r} on {chosen!r} has the scales {', '.join(map(str, setup.scales))}, got {ratio}."
        )
    fixed = {"protocol": name, _DATASET: chosen, _SCALE: ratio}
    return as_overrides(fixed | setup.pins_at(ratio))
