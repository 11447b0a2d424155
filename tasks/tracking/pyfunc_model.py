"""Code of the registered model, which MLflow copies next to the weights and runs when it loads them.

It imports only the library, not tasks.
"""

from pathlib import Path
from typing import Any

import mlflow
import numpy as np
from mlflow.pyfunc.model import PythonModel, PythonModelContext

from hsipipe import load_model
from hsipipe.errors import IntegrityError, ModelInputError
from hsipipe.storage.manifest import digest, verify


class SuperResolverModel(PythonModel):
    """LR cubes (B, C, h, w) float32 in, HR cubes (B, C, H, W) float32 out.

    A model that fuses takes a dict of two arrays: ``lr`` and ``msi`` (B, c, H, W).
    """

    def load_context(self, context: PythonModelContext) -> None:
        """Load the registered folder after comparing its bytes with the recorded digest."""
        folder = Path(context.artifacts["superresolver"])
        expected = context.model_config["sha256"]
        if (got := digest(folder)) != expected:
            raise IntegrityError(
                f"The model in {folder} has the digest {got}, expected {expected} as registered; register it again."
            )
        verify(folder)
        self._model = load_model(folder)

    def predict(
        self,
        context: PythonModelContext,
        model_input: np.ndarray,
        params: dict[str, Any] | None = None,
    ) -> np.ndarray:
        """Super-resolve a batch; refuse NaN, a wrong band count or a wrong type."""
        given: Any = model_input  # a dict in fusion; MLflow has no type hint for it and warns about any attempt
        if self._model.msi_bands == 0:
            return self._model.predict(given)
        if not isinstance(given, dict) or set(given) != {"lr", "msi"}:
            got = f"a dict of {sorted(given)}" if isinstance(given, dict) else f"a {type(given).__name__}"
            raise ModelInputError(
                f"Got {got}, expected a dict of two arrays, lr (B, C, h, w) and msi (B, c, H, W), because this model "
                "fuses an LR-HSI with an HR-MSI."
            )
        return self._model.predict(given["lr"], msi=given["msi"])


mlflow.models.set_model(SuperResolverModel())
