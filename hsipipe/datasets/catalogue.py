"""Map the name of each data set to its definition."""

from typing import TYPE_CHECKING

from hsipipe.registry import Registry

if TYPE_CHECKING:
    from hsipipe.datasets.base import Dataset

DATASETS: "Registry[Dataset]" = Registry(
    "dataset",
    {
        "cave": "hsipipe.datasets.cave:CAVE",
        "chikusei": "hsipipe.datasets.chikusei:CHIKUSEI",
        "folder": "hsipipe.datasets.folder:FOLDER",
        "harvard": "hsipipe.datasets.harvard:HARVARD",
        "paris_eo1": "hsipipe.datasets.paris_eo1:PARIS_EO1",
        "pavia_center": "hsipipe.datasets.pavia_center:PAVIA_CENTER",
        "pavia_university": "hsipipe.datasets.pavia_university:PAVIA_UNIVERSITY",
        "synthetic": "hsipipe.datasets.synthetic:SYNTHETIC",
    },
)
