"""Choose the device for networks."""

import torch

from hsipipe.errors import ParamsError


def device_for(accelerator: str) -> torch.device:
    """Return the device of ``hardware.accelerator``; `auto` is the GPU if there is one.

    Raises:
        ParamsError: `cuda` is requested but not available.
    """
    if accelerator == "cuda" and not torch.cuda.is_available():
        raise ParamsError("hardware.accelerator is cuda, but torch sees no GPU here; set it to auto or cpu.")
    if accelerator == "auto":
        accelerator = "cuda" if torch.cuda.is_available() else "cpu"
    return torch.device(accelerator)
