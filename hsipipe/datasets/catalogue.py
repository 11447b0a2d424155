"""The data sets that there are."""

from hsipipe.datasets.base import Dataset
from hsipipe.registry import Registry

DATASETS: Registry[Dataset] = Registry(
    "dataset",
    {
        "cave": "hsipipe.datasets.cave:CAVE",
        "synthetic": "hsipipe.datasets.synthetic:SYNTHETIC",
    },
)
