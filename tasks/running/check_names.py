"""Check the names in params.yaml that stand for code before anything runs."""

from hsipipe.params import Params


def check_names(params: Params) -> None:
    """Check the names of the data set, the SRF and the protocol, and what the protocol fixes.

    Raises:
        UnknownNameError: Unknown name; the message lists the known ones.
        ParamsError: The PSF is inconsistent, or the parameters contradict the protocol.
        MissingInputError: degradation.srf names a missing table.
    """
    from hsipipe.datasets.catalogue import DATASETS
    from hsipipe.degradation.pairs import MEASURED
    from hsipipe.degradation.psf import make_psf
    from hsipipe.degradation.srf import srf_identity
    from hsipipe.protocols import check_pins

    DATASETS[params.dataset.name]
    make_psf(params.degradation.psf).check(params.degradation.scale)
    if params.degradation.srf not in (None, MEASURED):
        srf_identity(params.degradation.srf)
    check_pins(params.protocol, dataset=params.dataset, split=params.split, degradation=params.degradation)
