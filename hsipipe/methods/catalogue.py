"""The catalogue of methods: names, settings, and loading from a folder; ``catalogue.yaml`` has a line for each."""

import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from hashlib import sha256
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import yaml

from hsipipe.errors import IntegrityError, ModelInputError, ParamsError
from hsipipe.params import GaeParams, Group, Params, inherited, parse_group
from hsipipe.registry import Registry

if TYPE_CHECKING:
    from hsipipe.methods.base import Method

_TABLE = "catalogue.yaml"
_LATENTS = "data/latents/"
_MODELS = "models/"


@dataclass(frozen=True)
class Entry:
    """A line of the catalogue.

    Attributes:
        name: Name of the method.
        where: Its class as ``module:attribute``.
        code: Its file or folder in the project.
        reads: Input of its training.
        like: Entry whose settings it inherits.
        takes: "lr" for the LR-HSI alone, "pair" for LR-HSI and HR-MSI.
    """

    name: str
    where: str
    code: str
    reads: str
    like: str
    takes: Literal["lr", "pair"]

    @property
    def fuses(self) -> bool:
        """True if it needs an HR-MSI."""
        return self.takes == "pair"

    @property
    def autoencoder(self) -> str | None:
        """Name of the autoencoder whose latents it is trained on; None if it is trained on patches."""
        return self.reads.removeprefix(_LATENTS) if self.reads.startswith(_LATENTS) else None

    @property
    def mean(self) -> str | None:
        """Name of the regression whose residual it is trained on; None: it is no posterior."""
        return self.reads.removeprefix(_MODELS) if self.reads.startswith(_MODELS) else None


@cache
def entries() -> Mapping[str, Entry]:
    """Return every line of the catalogue by name."""
    lines = _table()["catalogue"]
    return {name: Entry(name, line.pop("class"), **line) for name, line in lines.items()}


def autoencoders() -> Mapping[str, str]:
    """Return the names of the autoencoders, each with the entry of ``gae`` whose settings it inherits."""
    return {name: line["like"] for name, line in _table()["autoencoders"].items()}


@cache
def methods() -> "Registry[type[Method]]":
    """Return the classes by name; a class is imported when it is looked up."""
    return Registry("method", {entry.name: entry.where for entry in entries().values()})


@cache
def kinds() -> "Registry[type[Method]]":
    """Return the classes by the kind that a saved model names."""
    table = {entry.name: entry.where for entry in entries().values()}
    return Registry("model kind", {**table, **_table()["kinds"]})


def entry(name: str) -> Entry:
    """Return a line of the catalogue.

    Raises:
        UnknownNameError: There is no such method; the message lists them.
    """
    methods().check(name)
    return entries()[name]


def lineage(name: str) -> list[str]:
    """Return the methods that must be trained for a method, the regression of a posterior first, itself last."""
    mean = entry(name).mean
    return [name] if mean is None else [*lineage(mean), name]


def method_settings(params: Params, name: str, *, seed: int | None = None) -> Group:
    """Return the checked settings of a method in params.yaml.

    Args:
        params: All of params.yaml.
        name: Name of the method.
        seed: Replaces the seed of the settings, if they have one.

    Raises:
        UnknownNameError: There is no such method.
        ParamsError: Its settings are missing, or a key is unknown, missing or invalid.
    """
    tree = inherited(params.methods, name, entry(name).like)
    kind = methods()[name].Settings
    if seed is not None and "seed" in kind.model_fields:
        tree = {**tree, "seed": seed}
    return parse_group(kind, tree, source="params.yaml", prefix=f"methods.{name}.")


def gae_settings(params: Params, name: str) -> GaeParams:
    """Return the checked settings of an autoencoder in params.yaml.

    Raises:
        ParamsError: They are missing, or a key is unknown, missing or invalid.
    """
    tree = inherited(params.gae, name, autoencoders().get(name, name))
    return parse_group(GaeParams, tree, source="params.yaml", prefix=f"gae.{name}.")


def candidates(params: Params, trained: Collection[str] | None = None) -> list[str]:
    """Return the methods that may be registered, in the order of ``registry.candidates``.

    Args:
        params: All of params.yaml; with `trained`, only the groups compare and registry are needed.
        trained: Names of the trained methods; None: those whose settings have an optimizer.

    Raises:
        ParamsError: A candidate is not in ``compare`` or not trained, or single-image and fusion methods are mixed.
    """
    wanted = params.registry.candidates
    trained = [name for name in params.compare if (is_trained(params, name) if trained is None else name in trained)]
    if wanted == "all":
        # If fusion methods are compared, users of the model have an HR-MSI.
        of_pair = [name for name in trained if entry(name).fuses]
        return of_pair or trained
    for name in wanted:
        if name not in trained:
            raise ParamsError(
                f"registry.candidates names {name!r}, expected trained methods out of compare: {', '.join(trained)}."
            )
    if len({entry(name).takes for name in wanted}) > 1:
        raise ParamsError(
            "registry.candidates mixes methods of one image and of a pair; a registered model has one kind of input."
        )
    return list(wanted)


def is_trained(params: Params, name: str) -> bool:
    """Return True if a method is trained, i.e. its settings have an optimizer."""
    return "optimizer" in inherited(params.methods, name, entry(name).like)


def write_source(root: Path, name: str, settings: Group, out: Path) -> None:
    """Write a method's settings and the digests of its code into the folder of its training.

    The evaluation and the trainings from other seeds depend on that folder, and so on both.

    Args:
        root: The project.
        name: The method.
        settings: Its settings.
        out: Existing folder.
    """
    place = root / entry(name).code
    files = [place] if place.is_file() else sorted(place.rglob("*.py"))
    digests = {path.relative_to(root).as_posix(): sha256(path.read_bytes()).hexdigest() for path in files}
    source = {"code": digests, "settings": settings.model_dump(mode="json")}
    (out / "source.json").write_text(json.dumps(source, indent=1) + "\n", encoding="utf-8")


def saved_name(folder: Path) -> str:
    """Read the name of the model in a folder without loading its weights.

    Raises:
        MissingInputError: The folder holds no model.
        IntegrityError: Its configuration is not JSON.
    """
    from hsipipe.methods.checkpoint import read_config

    config = read_config(folder)
    if config.get("name") == "regression":
        return f"{config['kind']}-regression"
    if "name" in config:
        return str(config["name"])
    kind = str(config.get("kind", "(none)"))
    return f"{kind}-regression" if config.get("net", {}).get("objective") == "regression" else kind


def load_model(
    folder: str | Path,
    *,
    device: str = "cpu",
    sha256: str | None = None,
    wavelength_nm: Sequence[float] | None = None,
) -> "Method":
    """Load a super-resolver that was trained and saved by this project; MLflow is not needed.

    Every file is first checked against the folder's manifest.

    Args:
        folder: For example ``models/superresolver``.
        sha256: The digest that the folder must have, for example the tag ``sha256`` of a registered version: the
            digest of the manifest, which identifies the whole folder. None: any.
        device: Device in torch's notation ("cuda", "cpu").
        wavelength_nm: Band centres (C,) of the cubes that it will get, to compare with those of its training; None:
            not compared.

    Returns:
        A model with ``predict(lr)``: (B, C, h, w) float32 to (B, C, H, W).

    Raises:
        MissingInputError: The folder holds no model, or no manifest.
        IntegrityError: A file is corrupt, or the folder has another digest.
        UnknownNameError: The folder has a kind of model that is unknown to this version.
        ModelInputError: A band lies more than half a band step from that of the training.
    """
    from hsipipe.methods.checkpoint import read_config
    from hsipipe.methods.domain import Domain
    from hsipipe.storage.manifest import digest, verify

    path = Path(folder)
    config = read_config(path)
    if sha256 is not None and (got := digest(path)) != sha256:
        raise IntegrityError(
            f"The model in {path} has the digest {got}, expected {sha256}; it is another model, or was changed. "
            "Copy the right one there."
        )
    verify(path)
    domain = Domain.read(path)
    if domain is not None and wavelength_nm is not None and (text := domain.other_bands(wavelength_nm)):
        raise ModelInputError(f"{text}. Take a model of this sensor.")
    return kinds()[str(config.get("kind", "(none)"))].load(path, device=device).within(domain)


def _table() -> dict[str, Any]:
    tree: dict[str, Any] = yaml.safe_load(files("hsipipe.methods").joinpath(_TABLE).read_text(encoding="utf-8"))
    return tree
