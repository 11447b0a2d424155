"""The perceptual term of the GAE's loss: VGG19 features of false-colour triples (optional extra)."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from hsipipe.errors import MissingInputError

LAYERS = 36
"""Number of VGG19 layers: up to the last convolution block, as in perceptual losses of SR (arXiv 1609.04802, eq. 5)."""


class PerceptualLoss(nn.Module):
    """L1 between VGG19 features of the two cubes, three bands at a time.

    Raises:
        MissingInputError: torchvision or its VGG19 weights are not installed.
    """

    mean: Tensor
    std: Tensor

    def __init__(self) -> None:
        super().__init__()
        try:
            from torchvision.models import VGG19_Weights, vgg19
        except ImportError as error:
            raise MissingInputError(
                "loss.perceptual is not 0, but torchvision is missing: make install EXTRAS=test,perceptual, "
                "or set gae.standard.loss.perceptual to 0."
            ) from error
        try:
            network = vgg19(weights=VGG19_Weights.IMAGENET1K_V1)
        except (OSError, RuntimeError) as error:
            raise MissingInputError(
                f"loss.perceptual is not 0, but VGG19's weights could not be fetched ({error}); put them into "
                "torch's cache (TORCH_HOME), or set gae.standard.loss.perceptual to 0."
            ) from error
        self.features = network.features[:LAYERS].eval().requires_grad_(False)
        self.register_buffer("mean", torch.tensor([0.485, 0.456, 0.406])[:, None, None])
        self.register_buffer("std", torch.tensor([0.229, 0.224, 0.225])[:, None, None])

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        """Average over band triples spread over the spectrum; `x` and `y` are (B, C, H, W)."""
        third = x.shape[1] // 3
        picks = [torch.tensor([i, third + i, 2 * third + i]) for i in range(0, third, max(1, third // 4))]
        self.to(x.device)
        losses = [F.l1_loss(self._features(x[:, pick]), self._features(y[:, pick])) for pick in picks]
        return torch.stack(losses).mean()

    def _features(self, triple: Tensor) -> Tensor:
        features: Tensor = self.features((triple - self.mean) / self.std)
        return features
