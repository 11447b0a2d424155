"""Compare the candidates on a scene within a time, and choose one."""

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from numpy.linalg import LinAlgError
from numpy.typing import NDArray

from hsipipe.errors import HsipipeError, one_line
from hsipipe.methods.base import Method
from hsipipe.methods.group_residual import GroupResidual
from hsipipe.methods.network_method import NetworkMethod
from hsipipe.params import SamplingParams
from hsipipe.sharpen.candidates import BASELINE, NETWORKS, PAIR, SINGLE, untrained
from hsipipe.sharpen.fit import fit_network
from hsipipe.sharpen.reduced import Reduced
from hsipipe.sharpen.regions import Regions
from hsipipe.sharpen.scores import Score, score_box

LEAST_GAIN_DB = 0.05
"""Gain over interpolation in both regions below which a candidate is no better."""
_UNTRAINED_SHARE = 0.5
"""Share of the time after which no further method without training is tried."""
_ALWAYS = 5
"""Methods without training, besides interpolation, that are tried whatever the time: they take seconds."""
_BACK_PROJECTIONS = 4
"""Back-projections of the network's prediction, if they validate better than none."""


@dataclass(frozen=True)
class Clock:
    """Wall-clock time of a comparison.

    Attributes:
        seconds: The time.
        begun: Value of :func:`time.monotonic` at the start.
    """

    seconds: float
    begun: float = field(default_factory=time.monotonic)

    def passed(self) -> float:
        """Return the seconds since the start."""
        return time.monotonic() - self.begun

    def left(self) -> float:
        """Return the seconds that are left, 0 at least."""
        return max(0.0, self.seconds - self.passed())


Tell = Callable[[str], None]
"""Receives a line of progress."""
Admit = Callable[[str, Method | None], None]
"""Receives the name of a method, and the method, None before it is trained; raises an error to refuse it."""


def _admit_all(name: str, model: Method | None) -> None:
    """Accept any method."""


@dataclass(frozen=True, eq=False)
class Candidate:
    """A method with its scores.

    Attributes:
        model: The method.
        choose: Its scores in the region for choosing.
        judge: Its scores in the region for judging.
        seconds: Wall-clock time of training and prediction at reduced resolution.
        note: Remark on it; empty without.
        is_trained: True for a network, which :func:`choose` asks for more.
    """

    model: Method
    choose: Score
    judge: Score
    seconds: float
    note: str = ""
    is_trained: bool = False

    @property
    def name(self) -> str:
        """Name of the method."""
        return self.model.name


@dataclass(frozen=True, eq=False)
class Comparison:
    """The candidates of a scene.

    Attributes:
        candidates: All that were compared, interpolation first.
        chosen: See :func:`choose`; interpolation if nothing is better.
        skipped: Names of the methods that were not compared, and why.
    """

    candidates: Sequence[Candidate]
    chosen: Candidate
    skipped: dict[str, str]

    @property
    def baseline(self) -> Candidate:
        """Interpolation."""
        return self.candidates[0]

    @property
    def gain_db(self) -> float:
        """MPSNR of the chosen method over interpolation in the region for judging, in dB."""
        return self.chosen.judge.mpsnr_db - self.baseline.judge.mpsnr_db


def compare(
    reduced: Reduced,
    regions: Regions,
    *,
    clock: Clock,
    wavelength_nm: NDArray[Any] | None,
    tell: Tell,
    admit: Admit = _admit_all,
    start: GroupResidual | None = None,
) -> Comparison:
    """Compare interpolation, the methods without training that apply, and a network that is trained in the time left.

    Args:
        reduced: The scene and its degradation.
        regions: Where to fit, choose and judge.
        clock: The time.
        wavelength_nm: Band centres (C,) in nm; None: unknown.
        tell: Called with each result.
        admit: Called with each method but interpolation, before it is tried; an error that it raises skips the method.
        start: Network whose weights the training starts from, for a single image; None: random weights.

    A method that fails is skipped, unless it is interpolation.
    """
    is_pair = reduced.msi is not None
    found: list[Candidate] = []
    skipped: dict[str, str] = {}
    for name in (BASELINE, *(PAIR if is_pair else SINGLE)):
        if len(found) > _ALWAYS and clock.passed() > _UNTRAINED_SHARE * clock.seconds:
            skipped[name] = "no time left"
            continue
        begun = time.monotonic()
        try:
            model = untrained(name, scale=reduced.scale, psf=reduced.psf)
            if found:
                admit(name, model)
            found.append(_scored(model, reduced, regions, begun=begun))
        except (HsipipeError, LinAlgError) as error:
            if not found:
                raise
            skipped[name] = one_line(error)
            tell(f"{name}: skipped, {skipped[name]}")
        else:
            _tell_of(found[-1], found[0], clock, tell)
    name = NETWORKS[is_pair]
    try:
        admit(name, None)
        trained = _trained(name, reduced, regions, clock=clock, wavelength_nm=wavelength_nm, start=start)
    except (HsipipeError, LinAlgError) as error:
        trained = one_line(error)
    if isinstance(trained, str):
        skipped[name] = trained
        tell(f"{name}: skipped, {trained}")
    else:
        found.append(trained)
        _tell_of(trained, found[0], clock, tell)
    return Comparison(found, choose(found), skipped)


def _trained(name: str, reduced: Reduced, regions: Regions, *, clock: Clock, **about: Any) -> Candidate | str:
    """Train a network and score it; return why not, if it cannot be trained."""
    begun = time.monotonic()
    network, note = fit_network(name, reduced, regions, seconds=clock.left(), **about)
    if network is None:
        return note
    made = [_scored(model, reduced, regions, begun=begun, note=note, is_trained=True) for model in _variants(network)]
    return max(made, key=lambda entry: entry.choose.mpsnr_db)


def choose(candidates: Sequence[Candidate]) -> Candidate:
    """Return the best candidate in the region for choosing that loses nowhere to a simpler one.

    The region for judging has a veto only: it does not rank. A candidate must beat interpolation in both regions. A
    network, whose step was chosen in the region for choosing, must in the region for judging also be as good as the
    methods without training that do.
    """
    baseline, *others = candidates
    better = [entry for entry in others if _least_gain_db(entry, baseline) >= LEAST_GAIN_DB]
    simple = max((entry.judge.mpsnr_db for entry in better if not entry.is_trained), default=-math.inf)
    admitted = [entry for entry in better if not entry.is_trained or entry.judge.mpsnr_db >= simple]
    return max(admitted, key=lambda entry: entry.choose.mpsnr_db, default=baseline)


def _least_gain_db(candidate: Candidate, baseline: Candidate) -> float:
    """Return the smaller of the gains in the two regions."""
    return min(candidate.choose.mpsnr_db - baseline.choose.mpsnr_db, candidate.judge.mpsnr_db - baseline.judge.mpsnr_db)


def _scored(
    model: Method, reduced: Reduced, regions: Regions, *, begun: float, note: str = "", is_trained: bool = False
) -> Candidate:
    sr = reduced.predict(model)
    choosing, judging = (score_box(sr, reduced, box) for box in (regions.choose, regions.judge))
    return Candidate(model, choosing, judging, time.monotonic() - begun, note, is_trained)


def _variants(network: Method) -> list[Method]:
    """Return a network without and with back-projection, if it can do both."""
    if not isinstance(network, NetworkMethod):
        return [network]
    plain = {"sampler": "ddim", "steps": 1, "residual_decode": False, "tile": 64, "overlap": 8, "seed": 0}
    return [network.prepared(SamplingParams.saved({**plain, "consistency": times})) for times in (0, _BACK_PROJECTIONS)]


def _tell_of(candidate: Candidate, baseline: Candidate, clock: Clock, tell: Tell) -> None:
    gain = candidate.judge.mpsnr_db - baseline.judge.mpsnr_db
    more = f", {gain:+.2f} dB" if candidate is not baseline else ""
    note = f" ({candidate.note})" if candidate.note else ""
    tell(f"{candidate.name}: {candidate.judge.mpsnr_db:.2f} dB{more}{note}; {clock.left():.0f} s left")
