"""Describe where a cube comes from, as a flat dict of texts among its attributes.

NetCDF and Zarr hold them as attributes of the whole file, where the CF conventions want ``history`` and ``source``
(version 1.11, section 2.6.2). A TIFF holds them as tags, ENVI in ``description``. A .npy holds values alone.

The date is that of the start of the prediction, in UTC. A resumed prediction keeps the date and all other texts of its
first run, so it gives the bytes of an uninterrupted one with that date. ``SOURCE_DATE_EPOCH``, in seconds since 1970,
sets the date: two runs then give the same bytes. Source: https://reproducible-builds.org/specs/source-date-epoch/
"""

import hashlib
import json
import os
from collections.abc import Mapping
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import xarray as xr

from hsipipe.errors import ParamsError
from hsipipe.formats.cf import HISTORY, OWN, SOURCE, of_file
from hsipipe.formats.digest import source_digest
from hsipipe.formats.recognise import companions
from hsipipe.storage.manifest import sha256
from hsipipe.storage.urls import Place, Url

_DATE_VARIABLE = "SOURCE_DATE_EPOCH"


def provenance(
    command: str,
    *,
    inputs: Mapping[str, Place],
    model: Mapping[str, str],
    parameters: Mapping[str, Any],
    earlier: Mapping[Any, Any],
) -> dict[str, str]:
    """Return the provenance of a result.

    Args:
        command: Command that makes it, such as ``predict``.
        inputs: Files of the cubes that it is made of, by role, such as ``input`` and ``msi``. Of a remote one the
            address is recorded, and the digest that tells its versions apart: not all of it may be fetched.
        model: Facts about the model by name: ``name``, and others such as ``place`` and ``sha256``.
        parameters: Options that change the result, as plain JSON.
        earlier: Attributes of the input; its history is continued.

    Raises:
        MissingInputError: An input does not exist.
        ParamsError: ``SOURCE_DATE_EPOCH`` is not a number of seconds.
    """
    date, number = date_of_results(), package_version()
    facts = ", ".join(f"{key} {value}" for key, value in model.items() if key != "name")
    said = f"{model['name']} ({facts})"
    files = {role: path.name for role, path in inputs.items()}
    line = f"{date} hsipipe {number} {command} of {', '.join(files.values())} by {said}"
    found = {
        HISTORY: "\n".join(filter(None, [str(earlier.get(HISTORY, "")).strip(), line])),
        SOURCE: f"hsipipe {number}, {said}",
        f"{OWN}version": number,
        f"{OWN}date": date,
        f"{OWN}command": command,
        **{f"{OWN}model_{key}": value for key, value in model.items()},
        f"{OWN}parameters": json.dumps(dict(parameters)),
    }
    for role, path in inputs.items():
        found[f"{OWN}{role}_file"] = files[role]
        if isinstance(path, Url):
            found |= {f"{OWN}{role}_url": str(path), f"{OWN}{role}_version": source_digest(path)}
        else:
            found[f"{OWN}{role}_sha256"] = content_digest(path)
    return found


def date_of_results() -> str:
    """Return the date of results made now, in UTC, as ISO 8601 to the second.

    Raises:
        ParamsError: ``SOURCE_DATE_EPOCH`` is not a number of seconds.
    """
    given = os.environ.get(_DATE_VARIABLE)
    try:
        moment = datetime.now(UTC) if not given else datetime.fromtimestamp(int(given), UTC)
    except (ValueError, OverflowError, OSError):
        raise ParamsError(f"{_DATE_VARIABLE} is {given!r}, expected seconds since 1970; correct or unset it.") from None
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")


def attach_provenance(cube: xr.DataArray, found: Mapping[str, str]) -> xr.DataArray:
    """Attach the provenance of a result in the place of that of its input."""
    replaced = of_file(cube.attrs)
    kept = {key: value for key, value in cube.attrs.items() if key not in replaced}
    result = cube.copy(deep=False)
    result.attrs = {**kept, **found}
    return result


def content_digest(path: Path) -> str:
    """Return the sha256 of a cube of one file; of several, that of the lines that ``sha256sum`` prints for them.

    The lines name the files relative to the parent folder, in the order of their names.

    Raises:
        MissingInputError: `path` does not exist.
        FileFormatError: `path` is not a cube.
    """
    found = file_digests(path)
    if list(found) == [path.name]:
        return found[path.name]
    lines = (f"{digest}  {name}\n" for name, digest in sorted(found.items()))
    return hashlib.sha256("".join(lines).encode()).hexdigest()


def file_digests(path: Path) -> dict[str, str]:
    """Return the sha256 of all files of a cube by their path relative to its parent folder."""
    return {os.path.relpath(file, path.parent): sha256(file) for file in companions(path)}


def package_version() -> str:
    """Return the version of hsipipe."""
    try:
        return version("hsipipe")
    except PackageNotFoundError:  # run from a checkout that is not installed
        return "unknown"
