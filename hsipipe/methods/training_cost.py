"""Count the floating point operations of a training step, without data and without computing anything."""

import math
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch._subclasses.fake_tensor import DataDependentOutputException, FakeTensorMode
from torch.utils.flop_counter import FlopCounterMode, sdpa_backward_flop_count, sdpa_flop_count

from hsipipe.methods.base import Frame, Trainable
from hsipipe.methods.catalogue import entry, gae_settings, method_settings, methods
from hsipipe.methods.dmgasr.gae import GroupAutoencoder
from hsipipe.methods.dmgasr.latent_net import LatentNet
from hsipipe.methods.dmgasr.method import Dmgasr
from hsipipe.methods.fusion.model import FusionModel
from hsipipe.methods.fusion.setup import Pairing
from hsipipe.methods.losses import cube_loss
from hsipipe.params import Params, SamplingParams
from hsipipe.patches.draws import Draws

Shape = tuple[int, ...]


def method_flop(params: Params, name: str, frame: Frame) -> float:
    """Count the operations of a mean step of a method's training: loss and gradient of a batch.

    Args:
        params: All of params.yaml.
        name: A trained method.
        frame: Sensors and patch.

    Returns:
        FLOP; a multiply-add is two. NaN where it depends on values, as for a posterior, whose regression is given.
    """
    try:
        return _flop(params, name, frame)
    except (TypeError, DataDependentOutputException):
        return math.nan


def _flop(params: Params, name: str, frame: Frame) -> float:
    settings: Any = method_settings(params, name)
    batch = settings.optimizer.batch
    with _nothing_computed() as fake:
        method = _made(params, name, settings, frame)
        images = _images(method, frame, settings)
    phases = getattr(settings, "progressive", None)
    ends = [phase.until for phase in phases] if phases else [1.0]
    total, begin = 0.0, 0.0
    for end in ends:
        step = round(settings.optimizer.steps * end) - 1
        draws = Draws(settings.seed, step, batch, slice(batch))
        cut = method.cut(images, draws)
        with fake, _counter() as counter:
            method.loss(method.network(), cut, draws).backward()  # type: ignore[no-untyped-call]
        total += (end - begin) * counter.get_total_flops()
        begin = end
    return total


def autoencoder_flop(params: Params, name: str, frame: Frame) -> float:
    """Count the operations of a step of an autoencoder's training, without those of the perceptual loss."""
    settings = gae_settings(params, name)
    if settings.encoder == "identity":
        return 0.0
    with _nothing_computed(), _counter() as counter:
        module = GroupAutoencoder(frame.bands, settings)
        hr = torch.empty(settings.optimizer.batch, frame.bands, frame.patch, frame.patch)
        cube_loss(module(hr), hr, settings.loss).backward()  # type: ignore[no-untyped-call]
    return float(counter.get_total_flops())


def trainable_on(params: Params, name: str, frame: Frame) -> tuple[Trainable, dict[str, Tensor]]:
    """Return an untrained method and a batch of noise that its loss takes, to time a step."""
    settings: Any = method_settings(params, name)
    method = _made(params, name, settings, frame)
    return method, {key: torch.rand_like(value) for key, value in _images(method, frame, settings).items()}


def _made(params: Params, name: str, settings: Any, frame: Frame) -> Trainable:
    kind: Any = methods()[name]
    if issubclass(kind, Dmgasr):
        return _latent_method(params, name, settings, frame)
    if issubclass(kind, FusionModel):
        pairing = Pairing(frame.bands, frame.msi_bands, frame.scale, frame.psf)
        response = np.zeros((frame.msi_bands, frame.bands)) if frame.response is None else frame.response
        model: Any = kind.made_for(pairing, settings, response, patch=frame.patch)
        model.settings = settings
        return model  # type: ignore[no-any-return]
    made: Trainable = kind(frame, settings)
    return made


def _latent_method(params: Params, name: str, settings: Any, frame: Frame) -> Dmgasr:
    gae = GroupAutoencoder(frame.bands, gae_settings(params, str(entry(name).autoencoder)))
    net = LatentNet.untrained(gae.latent_channels, settings, frame)
    tree = {"sampler": "ddim", "steps": 1, "seed": 0, "residual_decode": False, "consistency": 0}
    method = Dmgasr(gae, net, sampling=SamplingParams.saved({**tree, "tile": frame.patch, "overlap": 0}))
    method.settings = settings
    return method


def _images(method: Trainable, frame: Frame, settings: Any) -> dict[str, Tensor]:
    batch, high, low = settings.optimizer.batch, frame.patch, frame.patch // frame.scale
    if isinstance(method, Dmgasr):
        shape = (batch, method.gae.plan.count, method.gae.latent_channels, high, high)
        return {"hr": torch.empty(shape), "lr": torch.empty(shape)}
    images = {"hr": torch.empty(batch, frame.bands, high, high), "lr": torch.empty(batch, frame.bands, low, low)}
    return images | ({"msi": torch.empty(batch, frame.msi_bands, high, high)} if method.FUSES else {})


def _counter() -> FlopCounterMode:
    """Count attention as it runs on a CPU, too, which torch omits."""
    aten: Any = torch.ops.aten
    return FlopCounterMode(
        display=False,
        custom_mapping={
            aten._scaled_dot_product_flash_attention_for_cpu: _attention_flop,
            aten._scaled_dot_product_flash_attention_for_cpu_backward: _attention_gradient_flop,
        },
    )


def _attention_flop(query: Shape, key: Shape, value: Shape, *_rest: Any, **_named: Any) -> int:
    return int(sdpa_flop_count(query, key, value))  # type: ignore[no-untyped-call]


def _attention_gradient_flop(
    gradient: Shape, query: Shape, key: Shape, value: Shape, *_rest: Any, **_named: Any
) -> int:
    return int(sdpa_backward_flop_count(gradient, query, key, value))  # type: ignore[no-untyped-call]


def _nothing_computed() -> FakeTensorMode:
    """Tensors have shapes and no values."""
    return FakeTensorMode(allow_non_fake_inputs=True)
