"""Write small files of sensor products in their published layouts: names, groups, attributes and types."""

from pathlib import Path

import h5py
import numpy as np
import rasterio

ROWS, COLUMNS = 6, 8
UTM32 = "EPSG:32632"
EDGE = rasterio.Affine(30, 0, 600_000, 0, -30, 5_300_000)


def write_tiff(path, values, *, nodata=None, crs=UTM32, transform=EDGE, scale=None, **options):
    """A GeoTIFF of (band, y, x)."""
    bands, height, width = values.shape
    profile = {"count": bands, "height": height, "width": width, "dtype": values.dtype.name, "crs": crs}
    with rasterio.open(path, "w", "GTiff", transform=transform, nodata=nodata, **profile, **options) as raster:
        raster.write(values)
        if scale is not None:
            raster.scales = [scale] * bands
    return path


# EnMAP: six bands, of which the third and fifth are VNIR beyond the first of SWIR.
ENMAP = "ENMAP01-____L2A-DT0000001867_20220724T104526Z_008_V010302_20230628T165614Z-"
ENMAP_NM = [500.5, 900.25, 910.0, 920.5, 930.75, 2400.0]
ENMAP_DETECTORS = ["vnir", "vnir", "swir", "vnir", "swir", "swir"]


def enmap_values():
    return np.random.default_rng(1).integers(1, 9000, (6, ROWS, COLUMNS)).astype("i2")


def enmap_xml(*, gains=(1e-4,) * 6, offsets=(0.0,) * 6, level="L2A", empty=(), vnir="1,2,4", swir="3,5,6", nm=ENMAP_NM):
    bands = "".join(
        f'<bandID number="{n}"><wavelengthCenterOfBand>{c}</wavelengthCenterOfBand><FWHMOfBand>{6 + n / 4}</FWHMOfBand>'
        f"<GainOfBand>{g}</GainOfBand><OffsetOfBand>{o}</OffsetOfBand></bandID>"
        for n, (c, g, o) in enumerate(zip(nm, gains, offsets, strict=True), start=1)
    )
    statistics = "".join(
        f'<bandID number="{n}"><minimum>0</minimum><maximum>9</maximum><mean>{-1000000 if n in empty else 1500}</mean>'
        f"<stdDeviation>{0 if n in empty else 300}</stdDeviation></bandID>"
        for n in range(1, len(nm) + 1)
    )
    quality = "".join(
        f"<{name}ProductQuality><numChannelsExpected>3</numChannelsExpected><expectedChannelsList>{listed}"
        f"</expectedChannelsList></{name}ProductQuality>"
        for name, listed in (("vnir", vnir), ("swir", swir))
        if listed
    )
    return (
        '<?xml version="1.0" encoding="UTF-8"?>\n'
        '<level_X xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance" xsi:noNamespaceSchemaLocation="x.xsd">'
        f"<base><level>{level}</level></base><product><bandStatistics>{statistics}</bandStatistics></product>"
        f"<specific>{quality}<bandCharacterisation>{bands}</bandCharacterisation></specific></level_X>"
    )


def write_enmap(folder, values=None, *, prefix=ENMAP, suffix=".TIF", layers=None, xml=None, **options):
    """A scene of EnMAP L2A; layers: name -> values (y, x) or (band, y, x). Returns the image."""
    values = enmap_values() if values is None else values
    folder.mkdir(exist_ok=True)
    (folder / f"{prefix}METADATA.XML").write_text(enmap_xml() if xml is None else xml, encoding="utf-8")
    for name, layer in (layers or {}).items():
        stack = layer if layer.ndim == 3 else layer[None]
        write_tiff(folder / f"{prefix}QL_{name}.TIF", stack.astype("u1"))
    return write_tiff(folder / f"{prefix}SPECTRAL_IMAGE{suffix}", values, **({"nodata": -32768} | options))


# DESIS
DESIS = "DESIS-HSI-L2A-DT0707652640_011-20220404T193259-V0220-"
DESIS_NM = [401.9, 404.4, 407.0, 998.7]


def desis_values():
    return np.random.default_rng(2).integers(1, 9000, (4, ROWS, COLUMNS)).astype("i2")


def write_desis(folder, values=None, *, quality=None, gain="0.0001", **options):
    """A scene of DESIS L2A; quality: QL_QUALITY-2 (10, y, x)."""
    folder.mkdir(exist_ok=True)
    values = desis_values() if values is None else values
    bands = "".join(
        f"<band><bandNumber>{n}</bandNumber><wavelengthCenterOfBand>{nm}</wavelengthCenterOfBand>"
        f"<wavelengthWidthOfBand>{3 + n / 10}</wavelengthWidthOfBand><response>0.1,0.9,0.1</response>"
        f"<wavelengths>{nm - 3},{nm},{nm + 3}</wavelengths><gainOfBand>{gain}</gainOfBand>"
        "<offsetOfBand>0</offsetOfBand></band>"
        for n, nm in enumerate(DESIS_NM, start=1)
    )
    geometry = "".join(f"<band><bandNumber>{n}</bandNumber><x>1</x></band>" for n in range(1, 5))
    (folder / f"{DESIS}METADATA.xml").write_text(
        "<?xml version='1.0' encoding='UTF-8'?><hsi_doc><base/><specific>"
        f"<interiorOrientation>{geometry}</interiorOrientation>"
        f"<bandCharacterisation>{bands}</bandCharacterisation></specific></hsi_doc>",
        encoding="utf-8",
    )
    if quality is not None:
        write_tiff(folder / f"{DESIS}QL_QUALITY-2.tif", quality.astype("u1"))
    return write_tiff(folder / f"{DESIS}SPECTRAL_IMAGE.tif", values, **({"nodata": -32768} | options))


# PRISMA: wavelengths run downwards, 0 is no band.
PRISMA_CW = {"Vnir": [960.0, 940.5, 500.25, 410.0, 0.0], "Swir": [0.0, 2490.0, 1600.5, 950.0, 930.0, 925.0]}
PRISMA_SCALE = {"Vnir": (0.05, 0.85), "Swir": (0.02, 0.72)}


def prisma_values(rows=ROWS, columns=COLUMNS):
    rng = np.random.default_rng(3)
    found = {}
    for key, centres in PRISMA_CW.items():
        cube = rng.integers(1, 65535, (rows, len(centres), columns)).astype("u2")
        cube[:, np.array(centres) == 0] = 0
        found[key] = cube
    return found


def write_prisma(path, values=None, *, errors=None, level="L2D", corners="centres", flags=True, drop=()):
    """A PRISMA file; errors: key -> matrix. Returns the path."""
    values = prisma_values() if values is None else values
    rows, _, columns = values["Vnir"].shape
    left, top = 600_015.0, 5_299_985.0
    right, bottom = left + 30 * (columns - 1), top - 30 * (rows - 1)
    if corners == "edges":
        left, top, right, bottom = left - 15, top + 15, right + 15, bottom - 15
    with h5py.File(path, "w") as file:
        fields = file.create_group(f"HDFEOS/SWATHS/PRS_{level}_HCO/Data Fields")
        places = file.create_group(f"HDFEOS/SWATHS/PRS_{level}_HCO/Geolocation Fields")
        places["Latitude"] = np.zeros((rows, columns), "f4")
        places["Longitude"] = np.zeros((rows, columns), "f4")
        for key, cube in values.items():
            fields.create_dataset(f"{key.upper()}_Cube", data=cube, chunks=(rows, 1, columns), compression="gzip")
            matrix = (errors or {}).get(key, np.zeros(cube.shape, "u1"))
            fields.create_dataset(f"{key.upper()}_PIXEL_L2_ERR_MATRIX", data=matrix)
            file.attrs[f"List_Cw_{key}"] = np.array(PRISMA_CW[key], "f4")
            file.attrs[f"List_Fwhm_{key}"] = np.array([10 + n / 4 for n in range(cube.shape[1])], "f4")
            if flags:
                file.attrs[f"List_Cw_{key}_Flags"] = (np.array(PRISMA_CW[key]) != 0).astype("u1")
            file.attrs[f"L2Scale{key}Min"], file.attrs[f"L2Scale{key}Max"] = map(np.float32, PRISMA_SCALE[key])
        for name, x, y in (("UL", left, top), ("UR", right, top), ("LL", left, bottom), ("LR", right, bottom)):
            file.attrs[f"Product_{name}corner_easting"] = x
            file.attrs[f"Product_{name}corner_northing"] = y
        file.attrs["Epsg_Code"] = np.uint32(32632)
        file.attrs["Projection_Name"] = np.bytes_("UTM")
        file.attrs["Processing_Level"] = np.bytes_(level.removeprefix("L"))
        file.create_group("Info")
        for name in drop:
            del file.attrs[name]
    return path


# EMIT
EMIT_NM = np.array([381.0, 388.4, 1400.5, 2493.0], "f4")
EMIT_FWHM = np.array([8.4, 8.5, 8.6, 8.7], "f4")
EMIT_NAME = "EMIT_L2A_RFL_001_20241006T165200_2428011_004.nc"


def emit_values():
    return np.random.default_rng(4).random((ROWS, COLUMNS, 4), dtype="f4")


def _dimensions(file, sizes):
    for dim, size in sizes.items():
        scale = file.create_dataset(dim, shape=(size,), dtype=">f4")
        scale.make_scale(f"This is a netCDF dimension but not a netCDF variable. {size:>10}")


def _netcdf(group, name, values, dims, **attrs):
    dataset = group.create_dataset(name, data=values)
    for axis, dim in enumerate(dims):
        dataset.dims[axis].attach_scale(group.file[dim])
    dataset.attrs.update(attrs)


def write_emit(folder, values=None, *, mask=None, band_mask=None, good=(1, 1, 0, 1)):
    """A granule of EMIT L2A, with its file of masks if there are any. Returns the reflectance."""
    values = emit_values() if values is None else values
    rows, columns, bands = values.shape
    folder.mkdir(exist_ok=True)
    with h5py.File(folder / EMIT_NAME, "w") as file:
        _dimensions(file, {"downtrack": rows, "crosstrack": columns, "bands": bands, "ortho_y": 9, "ortho_x": 10})
        place = ("downtrack", "crosstrack")
        _netcdf(
            file, "reflectance", values, (*place, "bands"), _FillValue=np.float32([-9999]), units=np.bytes_("unitless")
        )
        location, sensor = file.create_group("location"), file.create_group("sensor_band_parameters")
        lon, lat = np.meshgrid(np.linspace(8, 8.1, columns), np.linspace(48, 47.9, rows))
        _netcdf(location, "lon", lon, place, _FillValue=np.float64([-9999]))
        _netcdf(location, "lat", lat, place, _FillValue=np.float64([-9999]))
        glt = np.zeros((9, 10), "i4")
        _netcdf(location, "glt_x", glt, ("ortho_y", "ortho_x"), _FillValue=np.int32([0]))
        _netcdf(location, "glt_y", glt, ("ortho_y", "ortho_x"), _FillValue=np.int32([0]))
        _netcdf(sensor, "wavelengths", EMIT_NM[:bands], ("bands",), units=np.bytes_("nm"))
        _netcdf(sensor, "fwhm", EMIT_FWHM[:bands], ("bands",), units=np.bytes_("nm"))
        _netcdf(sensor, "good_wavelengths", np.array(good[:bands], "f4"), ("bands",))
        file.attrs["geotransform"] = np.array([8, 0.000542, 0, 48, 0, -0.000542])
    if mask is not None or band_mask is not None:
        with h5py.File(folder / EMIT_NAME.replace("_RFL_", "_MASK_"), "w") as file:
            sizes = {"downtrack": rows, "crosstrack": columns, "bands": 8, "packed_wavelength_bands": -(-bands // 8)}
            _dimensions(file, sizes)
            if mask is not None:
                _netcdf(file, "mask", mask.astype("f4"), (*place, "bands"))
            if band_mask is not None:
                packed = np.packbits(band_mask, axis=-1)
                _netcdf(file, "band_mask", packed, (*place, "packed_wavelength_bands"))
    return folder / EMIT_NAME


# Tanager
TANAGER_NM = np.array([376.44, 381.45, 1400.2, 2499.0], "f4")
TANAGER_STRUCTURE = """GROUP=SwathStructure
END_GROUP=SwathStructure
GROUP=GridStructure
\tGROUP=GRID_1
\t\tGridName="HYP"
\t\tXDim={columns}
\t\tYDim={rows}
\t\tUpperLeftPointMtrs=(300000.000000,6200100.000000)
\t\tLowerRightMtrs=({right:f},{bottom:f})
\t\tProjection=HE5_GCTP_UTM
\t\tZoneCode=-34
\t\tSphereCode=12
\t\tGridOrigin=HE5_HDFE_GD_UL
\t\tGROUP=DataField
\t\tEND_GROUP=DataField
\tEND_GROUP=GRID_1
END_GROUP=GridStructure
END
"""


def tanager_values():
    return np.random.default_rng(5).random((4, ROWS, COLUMNS), dtype="f4")


def write_tanager(path, values=None, *, kind="GRIDS", cube="surface_reflectance", layers=None, facts="attributes"):
    """A Tanager file, ortho (GRIDS) or basic (SWATHS). Returns the path."""
    values = tanager_values() if values is None else values
    _, rows, columns = values.shape
    found = {
        "wavelengths": TANAGER_NM,
        "fwhm": np.array([5.1, 5.2, 5.3, 5.4], "f4"),
        "good_wavelengths": np.array([1, 1, 0, 1], "u1"),
    }
    with h5py.File(path, "w") as file:
        fields = file.create_group(f"HDFEOS/{kind}/HYP/Data Fields")
        data = fields.create_dataset(cube, data=values, chunks=(1, rows, columns), compression="gzip", shuffle=True)
        data.attrs["_FillValue"] = np.float32(-9999)
        data.attrs["Unit"] = np.bytes_("Unitless")
        for name, vector in found.items():
            if facts == "attributes":
                data.attrs[name] = vector
            else:
                fields[name] = vector
        data.attrs["wavelengths_units"] = np.bytes_("nm")
        data.attrs["fwhm_units"] = np.bytes_("nm")
        for name, layer in (layers or {}).items():
            fields[name] = layer.astype("u1")
        if kind == "SWATHS":
            places = file.create_group("HDFEOS/SWATHS/HYP/Geolocation Fields")
            lon, lat = np.meshgrid(np.linspace(19, 19.1, columns), np.linspace(-33, -33.1, rows))
            places["Latitude"], places["Longitude"] = lat, lon
        right, bottom = 300_000 + 30 * columns, 6_200_100 - 30 * rows
        text = TANAGER_STRUCTURE.format(rows=rows, columns=columns, right=right, bottom=bottom)
        file["HDFEOS INFORMATION/StructMetadata.0"] = np.bytes_(text.encode().ljust(4000, b"\0"))
    return path


# Sentinel-2
SENTINEL2 = "S2B_MSIL2A_20220612T101559_N0400_R065_T32TNS_20220612T130000.SAFE"
S2_IDS = {
    "B01": 0,
    "B02": 1,
    "B03": 2,
    "B04": 3,
    "B05": 4,
    "B06": 5,
    "B07": 6,
    "B08": 7,
    "B8A": 8,
    "B09": 9,
    "B11": 11,
    "B12": 12,
}
S2_NM = {"B02": 492.1, "B03": 559.0, "B04": 665.0, "B08": 833.0, "B05": 703.8, "B8A": 864.0, "B11": 1610.4}


def sentinel2_xml(
    *, offset=-1000, quantification=10000, baseline="04.00", responses=None, root="Level-2A_User_Product"
):
    offsets = "".join(f'<BOA_ADD_OFFSET band_id="{n}">{offset}</BOA_ADD_OFFSET>' for n in range(13))
    listed = f"<BOA_ADD_OFFSET_VALUES_LIST>{offsets}</BOA_ADD_OFFSET_VALUES_LIST>" if offset is not None else ""
    spectral = "".join(
        f'<Spectral_Information bandId="{S2_IDS[name]}" physicalBand="{name.replace("B0", "B")}">'
        f'<RESOLUTION>10</RESOLUTION><Wavelength><MIN unit="nm">{nm - 50}</MIN><MAX unit="nm">{nm + 50}</MAX>'
        f'<CENTRAL unit="nm">{nm}</CENTRAL></Wavelength>'
        + (
            f'<Spectral_Response><STEP unit="nm">1</STEP><VALUES>{responses[name]}</VALUES></Spectral_Response>'
            if name in (responses or {})
            else ""
        )
        + "</Spectral_Information>"
        for name, nm in S2_NM.items()
    )
    return (
        '<?xml version="1.0" encoding="UTF-8"?>\n'
        f'<n1:{root} xmlns:n1="https://psd-14.sentinel2.eo.esa.int/PSD/User_Product_Level-2A.xsd"><n1:General_Info>'
        f"<Product_Info><PROCESSING_BASELINE>{baseline}</PROCESSING_BASELINE></Product_Info>"
        "<Product_Image_Characteristics><Special_Values><SPECIAL_VALUE_TEXT>NODATA</SPECIAL_VALUE_TEXT>"
        "<SPECIAL_VALUE_INDEX>0</SPECIAL_VALUE_INDEX></Special_Values><Special_Values>"
        "<SPECIAL_VALUE_TEXT>SATURATED</SPECIAL_VALUE_TEXT><SPECIAL_VALUE_INDEX>65535</SPECIAL_VALUE_INDEX></Special_Values>"
        f'<QUANTIFICATION_VALUES_LIST><BOA_QUANTIFICATION_VALUE unit="none">{quantification}</BOA_QUANTIFICATION_VALUE>'
        f"</QUANTIFICATION_VALUES_LIST>{listed}<Spectral_Information_List>{spectral}</Spectral_Information_List>"
        f"</Product_Image_Characteristics></n1:General_Info></n1:{root}>"
    )


def sentinel2_values(rows=12, columns=16):
    """Stored values of bands by (name, pixel size)."""
    rng = np.random.default_rng(6)
    sizes = {10: ("B02", "B03", "B04", "B08"), 20: ("B02", "B05", "B8A", "B11")}
    return {
        (name, size): rng.integers(1001, 9000, (rows * 10 // size, columns * 10 // size)).astype("u2")
        for size, names in sizes.items()
        for name in names
    }


def write_sentinel2(folder, values=None, *, scl=None, xml=None, driver="JP2OpenJPEG", flat=False):
    """A product of Sentinel-2 L2A: SAFE with JPEG 2000, or a flat folder of COGs. Returns the folder."""
    values = sentinel2_values() if values is None else values
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "MTD_MSIL2A.xml").write_text(sentinel2_xml() if xml is None else xml, encoding="utf-8")
    images = dict(values) | ({("SCL", 20): scl.astype("u1")} if scl is not None else {})
    for (name, size), band in images.items():
        place = folder if flat else folder / f"GRANULE/L2A_T32TNS_A027502_20220612T101559/IMG_DATA/R{size}m"
        place.mkdir(parents=True, exist_ok=True)
        suffix = "jp2" if driver == "JP2OpenJPEG" else "tif"
        path = place / f"T32TNS_20220612T101559_{name}_{size}m.{suffix}"
        transform = rasterio.Affine(size, 0, 499_980, 0, -size, 5_200_020)
        height, width = band.shape
        options = {"QUALITY": "100", "REVERSIBLE": "YES"} if driver == "JP2OpenJPEG" else {}
        with rasterio.open(
            path, "w", driver, count=1, height=height, width=width, dtype=band.dtype.name, crs=UTM32,
            transform=transform, **options,
        ) as raster:  # fmt: skip
            raster.write(band[None])
    return folder


# Hyperion
HYPERION = "EO1H1950272012164110KF"
HYPERION_BANDS = (7, 8, 9, 56, 57, 70, 71, 77, 78, 79, 224, 225)


def hyperion_values(bands=HYPERION_BANDS):
    rng = np.random.default_rng(7)
    good = {n: 8 <= n <= 57 or 77 <= n <= 224 for n in bands}
    return {n: rng.integers(1, 9000, (ROWS, COLUMNS)).astype("i2") * good[n] for n in bands}


def write_hyperion(folder, values=None, *, text="  SCALING_FACTOR_VNIR = 40\n  SCALING_FACTOR_SWIR = 80\n"):
    """A scene of Hyperion L1T. Returns the folder."""
    folder.mkdir(exist_ok=True)
    for number, band in (hyperion_values() if values is None else values).items():
        write_tiff(folder / f"{HYPERION}_B{number:03d}_L1T.TIF", band[None])
    if text is not None:
        (folder / f"{HYPERION}_MTL_L1T.TXT").write_text(
            f"GROUP = L1_METADATA_FILE\n GROUP = RADIANCE_SCALING\n{text} END_GROUP = RADIANCE_SCALING\nEND\n"
        )
    return folder


def every_product(root: Path):
    """Write one of each product; return the path of each to open by name."""
    return {
        "enmap": write_enmap(root / "enmap", layers={"QUALITY_CLOUD": np.zeros((ROWS, COLUMNS))}),
        "desis": write_desis(root / "desis", quality=np.zeros((10, ROWS, COLUMNS))),
        "prisma": write_prisma(root / "PRS_L2D_STD_20201214060713_20201214060717_0001.he5"),
        "emit": write_emit(root / "emit", mask=np.zeros((ROWS, COLUMNS, 8))),
        "tanager": write_tanager(root / "20250504_092952_87_4001_ortho_sr_hdf5.h5"),
        "sentinel2": write_sentinel2(root / SENTINEL2, scl=np.full((6, 8), 4)),
        "hyperion": write_hyperion(root / "hyperion"),
    }
