"""Chikusei: fields and a town in Ibaraki, 2517 x 2335 pixels, 128 bands of Hyperspec-VNIR-C (flown in 2014).

N. Yokoya and A. Iwasaki, "Airborne hyperspectral data over Chikusei", technical report SAL-2016-05-27, Space
Application Laboratory, University of Tokyo, 2016; acknowledgement and citation as in the Readme.txt of the archive.
Published as ENVI and as MATLAB: the download is ENVI (16 bit, half the size); a folder may hold either.
"""

import numpy as np

from hsipipe.datasets.base import Dataset
from hsipipe.datasets.download import Archive

BANDS = 128

CHIKUSEI = Dataset(
    name="chikusei",
    title="Airborne hyperspectral data over Chikusei",
    licence="CC BY 3.0",
    terms="acknowledge the Space Application Laboratory of the University of Tokyo, and cite the report",
    doi="https://naotoyokoya.com/Download.html",  # the report has no DOI
    bands=BANDS,
    # From the ENVI header, evenly spaced to 0.01 nm; the MATLAB file has none.
    wavelength_nm=tuple(np.linspace(362.58, 1018.01, BANDS).round(2).tolist()),
    gsd_m=2.5,
    scale=15133.0,  # the maximum, the usual divisor in publications
    layout=(
        "HyperspecVNIR_Chikusei_20140729.hdr with its .bsq, or HyperspecVNIR_Chikusei_20140729.mat with the array "
        "chikusei, 2517 x 2335 x 128; there or in a folder below"
    ),
    archives=(
        Archive(
            url="https://www.sal.t.u-tokyo.ac.jp/hyperdata/Hyperspec_Chikusei_ENVI.zip",
            # No published digest; this one is from a public script that downloads the same file.
            sha256="192825c63e764a16e9324470e005992f343c24317178e8a5546147aadde838dc",
            size_bytes=1_066_530_806,
            mirrors=("http://park.itc.u-tokyo.ac.jp/sal/hyperdata/Hyperspec_Chikusei_ENVI.zip",),
        ),
    ),
    # The whole name, because the folder also holds the class map, *_Ground_Truth.
    patterns=("HyperspecVNIR_Chikusei_20140729.hdr", "HyperspecVNIR_Chikusei_20140729.mat"),
    scene="chikusei",
    variable="chikusei",
)
