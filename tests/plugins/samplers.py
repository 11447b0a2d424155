"""A model by hand that draws samples."""

from typing import ClassVar

import numpy as np


class Spreads:
    """What a model with samples has beside its prediction; the deviation of K samples is K / 100.

    The k-th sample is k / 100 above the prediction.
    """

    varies: ClassVar[bool] = True
    averages: ClassVar[bool] = False
    sample_nfe: ClassVar[int] = 10
    interval_scale: ClassVar[float] = 2.0

    def draw(self, lr, *, count, msi=None, origin=(0, 0)):
        for number in range(count):
            yield self.predict(lr, msi=msi) + np.float32(number / 100)

    def predict_with_spread(self, lr, *, count, msi=None, origin=(0, 0)):
        sr = self.predict(lr, msi=msi)
        return sr, np.full_like(sr, count / 100)
