"""Where networks run."""

import torch

from hsipipe.errors import ParamsError


def device_for(accelerator: str) -> torch.device:
    """The device of ``hardware.accelerator``: `auto` takes the GPU if there is one.

    Raises:
        ParamsError: `cuda` is asked for and not there.
    """
    if accelerator == "cuda" and not torch.cuda.is_available():
        raise ParamsError("hardware.accelerator is cuda, but torch sees no GPU here; set it to auto or cpu.")
    if accelerator == "auto":
        accelerator = "cuda" if torch.cuda.is_available() else "cpu"
    return torch.device(accelerator)
