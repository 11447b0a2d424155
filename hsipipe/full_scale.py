"""Judge the range of values: plausible as reflectances, or a likely value that means 1.0."""

PLAUSIBLE = 4.0
"""Largest plausible maximum of a scene, as a reflectance; sun glint exceeds 1."""
FAINT = 1e-3
"""Smallest plausible maximum of a scene; below it, dataset.folder.full_scale does not match the file."""

# Common scale factors, and the largest value that still indicates each: a glint is brighter than 1.0.
_SCALES = ((1, 2.0), (100, 150.0), (255, 255.0), (1000, 1500.0), (4095, 4095.0), (10000, 20000.0), (65535, 65535.0))


BRIGHT = _SCALES[0][1]
"""Value that few reflectances exceed: glints, and noise in absorption bands."""
_FEW = 1e-3


def likely_full_scale(high: float, *, bright: float = 1.0) -> int | None:
    """Return the scale factor that a largest value indicates, or None beyond all common ones.

    Args:
        high: Largest value.
        bright: Share of the values above `BRIGHT`; reflectances have few, scaled values many.

    >>> likely_full_scale(9800.0)
    10000
    >>> likely_full_scale(6.0, bright=1e-5)
    1
    """
    if bright < _FEW:
        return 1
    return next((scale for scale, most in _SCALES if high <= most), None)
