"""Check the parts of params.yaml that need the catalogues, before any stage runs."""

from hsipipe.errors import ParamsError
from hsipipe.methods.catalogue import candidates, entry, gae_settings, lineage, method_settings
from hsipipe.params import Params
from hsipipe.restoration import SUPER_RESOLUTION


def check_names(params: Params) -> None:
    """Check the names of methods, data set, SRF and protocol, and the values that the protocol fixes.

    Raises:
        UnknownNameError: One of them is unknown; the message lists the known ones.
        ParamsError: The PSF or the parameters of the protocol are inconsistent, or a method lacks its HR-MSI.
        MissingInputError: The table named by degradation.srf does not exist.
    """
    from hsipipe.datasets.catalogue import DATASETS
    from hsipipe.degradation.psf import make_psf
    from hsipipe.degradation.srf import srf_identity
    from hsipipe.params.data import MEASURED
    from hsipipe.protocols import check_pins

    DATASETS.check(params.dataset.name)
    make_psf(params.degradation.psf).check(params.degradation.scale)
    if params.degradation.srf not in (None, MEASURED):
        srf_identity(params.degradation.srf)
    check_pins(params.protocol, dataset=params.dataset, split=params.split, degradation=params.degradation)
    _check_fusion(params)
    candidates(params)


def check_settings(params: Params) -> None:
    """Check the settings of every compared method, its regression and autoencoder; this imports their networks.

    Raises:
        ParamsError: A key is unknown, missing or invalid; the message names it.
    """
    for name in params.compare:
        seed = getattr(method_settings(params, name), "seed", None)
        if seed in params.seeds:
            raise ParamsError(
                f"seeds lists {seed}, which methods.{name} has already: it would count twice in mean and deviation; "
                "list other seeds alone."
            )
        for needed in lineage(name):
            method_settings(params, needed)
            if (autoencoder := entry(needed).autoencoder) is not None:
                gae_settings(params, autoencoder)


def _check_fusion(params: Params) -> None:
    """Refuse fusion methods if there is no HR-MSI, or if the task is not super-resolution."""
    fusing = [name for name in params.compare if entry(name).fuses]
    if not fusing:
        return
    if params.degradation.srf is None:
        raise ParamsError(
            f"compare lists {fusing[0]}, which fuses the LR-HSI with an HR-MSI, but degradation.srf is null: set it to "
            f"a sensor, a table, or measured; or take {', '.join(fusing)} out of compare."
        )
    if params.degradation.task != SUPER_RESOLUTION:
        raise ParamsError(
            f"compare lists {fusing[0]}, which fuses two images and is for degradation.task super-resolution, got "
            f"{params.degradation.task}; take {', '.join(fusing)} out of compare."
        )
