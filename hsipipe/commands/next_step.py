"""The command that works for a cube: prediction by the project's model if it fits, else a training on the cube."""

import math
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, cast

from hsipipe.checkout import PARAMS, find_root
from hsipipe.commands.cube_facts import CubeFacts, stated_full_scale
from hsipipe.commands.pipeline_extra import PACKAGES
from hsipipe.errors import DataError, HsipipeError
from hsipipe.extras import how_to_install, missing
from hsipipe.params import Params, load_params
from hsipipe.params.overrides import as_overrides
from hsipipe.storage.urls import Url

MODEL = Path("models") / "superresolver"
"""The model that the project last registered."""
_WRITABLE = (".npy", ".nc", ".tif", ".zarr")
_DOWNLOAD = "No command is proposed: trainings and `hsipipe sharpen` take files, so download it for them."
_LEAST = 16
"""Edge of the smallest patch in HR pixels, a multiple of which is proposed: networks halve a patch several times."""


def next_step(cubes: Sequence[CubeFacts]) -> str:
    """Return the command for the first cube, or a sentence that says why no command works.

    Args:
        cubes: Cubes of one sensor; a training uses all of them if they are the content of a folder.
    """
    try:
        root = find_root()
    except HsipipeError:  # no checkout, or one in which nothing runs
        return _DOWNLOAD if isinstance(cubes[0].path, Url) else _sharpen(cubes[0])
    if _fits(root / MODEL, cubes[0]):
        return _predict(root, cubes[0])
    if any(isinstance(cube.path, Url) for cube in cubes):
        return _DOWNLOAD
    if lacking := missing(*PACKAGES):
        return f"A training {how_to_install(lacking)}\n{_sharpen(cubes[0])}"
    try:
        options = as_overrides(training_options(cubes, load_params(root / PARAMS)))
    except HsipipeError as error:
        return f"No training works on this as it is: {error}"
    return " ".join(["hsipipe pipeline", *(f"-S {shlex.quote(option)}" for option in options)])


def training_options(cubes: Sequence[CubeFacts], params: Params) -> Mapping[str, Any]:
    """Return what a training on these cubes needs in params.yaml.

    Raises:
        HsipipeError: A cube cannot be trained on; the message names the defect.
    """
    from hsipipe.datasets.folder import FOLDER
    from hsipipe.datasets.prepare import check_scene
    from hsipipe.datasets.splits import plan_split

    first, scale = cubes[0], params.degradation.scale
    place = _place(cubes)
    set_to: dict[str, Any] = {"dataset.name": "folder", "dataset.root": str(place)}
    set_to["dataset.folder.full_scale"] = _full_scale(first)
    if first.variable is not None:
        set_to["dataset.folder.variable"] = first.variable
    if first.unusable:
        set_to["dataset.folder.drop_bands"] = [band + 1 for band in first.unusable]
    own = params.dataset.folder.model_copy(
        update={key.rpartition(".")[2]: value for key, value in set_to.items() if key.startswith("dataset.folder.")}
    )
    facts = FOLDER.configure(params.dataset.model_copy(update={"name": "folder", "root": str(place), "folder": own}))
    for cube in cubes:
        entry = check_scene(facts, cube.path.stem, _path(cube))
    sizes = {cube.path.stem: cube.cube.shape[1:] for cube in cubes}
    if any(height % scale or width % scale for height, width in sizes.values()):
        set_to["degradation.crop_remainder"] = True
    whole = {name: (height // scale * scale, width // scale * scale) for name, (height, width) in sizes.items()}
    regions = plan_split(whole, params.split, scale=scale)
    set_to |= _patches(min(min(region.shape) for part in regions.values() for region in part), params)
    return set_to | _groups(len(first.cube) - len(first.unusable), params) | _response(entry["wavelength_nm"], params)


def _patches(side: int, params: Params) -> dict[str, int]:
    """Return smaller patches where a region of `side` HR pixels does not hold those of params.yaml."""
    if side >= params.patches.size:
        return {}
    step = math.lcm(_LEAST, params.degradation.scale)
    size = side // step * step
    if not size:
        raise DataError(
            f"its smallest region has {side} pixels along one side, and a patch has {step} or more; give larger cubes, "
            "three of them or more, or lower split.guard."
        )
    return {"patches.size": size, "patches.stride": size * 3 // 4}


def _groups(bands: int, params: Params) -> dict[str, int]:
    """Return smaller groups of bands where a compared method, or its autoencoder, has larger ones than the cube."""
    from hsipipe.methods.catalogue import entry, gae_settings, lineage, method_settings

    needed = dict.fromkeys(part for name in params.compare for part in lineage(name))
    sizes = {f"methods.{name}": method_settings(params, name) for name in needed}
    coders = dict.fromkeys(coder for name in needed if (coder := entry(name).autoencoder) is not None)
    sizes |= {f"gae.{name}": gae_settings(params, name) for name in coders}
    found: dict[str, int] = {}
    for place, settings in sizes.items():
        size = getattr(settings, "n_subs", None)
        if isinstance(size, int) and size > bands and getattr(settings, "window_nm", None) is None:
            limits = {"n_subs": bands, "n_ovls": bands - 1, "latent_channels": bands}
            given = {key: getattr(settings, key, None) for key in limits}
            found |= {
                f"{place}.{key}": limits[key]
                for key, value in given.items()
                if isinstance(value, int) and value > limits[key]
            }
    return found


def _response(wavelength_nm: Sequence[float], params: Params) -> dict[str, None]:
    """Return that no HR-MSI is made where the cube lacks the bands for it and no method needs one."""
    from hsipipe.degradation.srf import response
    from hsipipe.methods.catalogue import entry
    from hsipipe.params.data import MEASURED

    srf = params.degradation.srf
    if srf is None or srf == MEASURED or any(entry(name).fuses for name in params.compare):
        return {}
    try:
        response(srf, wavelength_nm)
    except DataError:
        return {"degradation.srf": None}
    return {}


def _place(cubes: Sequence[CubeFacts]) -> Path:
    """Return the folder that holds exactly these cubes, or the only cube itself."""
    from hsipipe.datasets.folder import FOLDER

    paths = {_path(cube).resolve() for cube in cubes}
    folder = _path(cubes[0]).resolve().parent
    try:
        if {path.resolve() for path in FOLDER.find(folder).values()} == paths:
            return folder
    except DataError:  # two files of one name
        pass
    if len(cubes) > 1 or _path(cubes[0]).is_dir():
        raise DataError("a training takes one file, or all cubes of a folder; put these into a folder without others.")
    return _path(cubes[0]).resolve()


def _path(facts: CubeFacts) -> Path:
    return cast(Path, facts.path)  # no training is proposed for a remote cube


def _full_scale(facts: CubeFacts) -> float:
    """Return the value that means 1.0, a whole number as an int."""
    if (stated := stated_full_scale(facts.cube)) is not None:
        return int(stated) if stated.is_integer() else stated
    likely = facts.likely_full_scale
    if likely is None:
        raise DataError("its values have no common scale; set dataset.folder.full_scale to the value that means 1.0.")
    return likely


def _fits(model: Path, facts: CubeFacts) -> bool:
    """Return whether the model in a folder was trained on bands such as those of the cube."""
    if not model.is_dir():
        return False
    from hsipipe.methods.domain import Domain

    domain = Domain.read(model)
    nm = facts.wavelength_nm
    if domain is None or domain.basis.shape[1] != len(facts.cube):
        return False
    return nm is None or not domain.other_bands(nm.tolist())


def _predict(root: Path, facts: CubeFacts) -> str:
    from hsipipe.artifacts.registration import Registration

    words = ["hsipipe", "predict", *_files(facts), "--model", str(root / MODEL)]
    try:
        scale, note = _full_scale(facts), ""
    except DataError:
        scale, note = 1, "\nAdd --full-scale N, the value that means 1.0: its values have no common scale."
    words += ["--full-scale", f"{scale:g}"] if scale != 1 else []
    words += ["--variable", facts.variable] if facts.variable is not None else []
    if (root / Registration.PATH).is_file() and Registration.read(root).fuses:
        words += ["--msi", "FILE"]
    return shlex.join(words) + note


def _sharpen(facts: CubeFacts) -> str:
    """Return the command that needs neither a checkout nor a model."""
    words = ["hsipipe", "sharpen", *_files(facts)]
    return shlex.join(words + (["--variable", facts.variable] if facts.variable is not None else []))


def _files(facts: CubeFacts) -> list[str]:
    """Return input and output."""
    suffix = facts.path.suffix if facts.path.suffix in _WRITABLE else ".nc"
    return [str(facts.path), f"{facts.path.stem}_sr{suffix}"]
