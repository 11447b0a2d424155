"""Names in params.yaml that stand for code: checked before anything runs, not when a stage needs them."""

from hsipipe.params import Params


def check_names(params: Params) -> None:
    """Check the names of the data set, the SRF and the protocol.

    Raises:
        UnknownNameError: One of them is unknown; the message lists those that there are.
    """
    from hsipipe.datasets.catalogue import DATASETS
    from hsipipe.degradation.srf import sensor_bands
    from hsipipe.protocols import PROTOCOLS

    DATASETS[params.dataset.name]
    sensor_bands(params.degradation.srf)
    PROTOCOLS[params.protocol]
