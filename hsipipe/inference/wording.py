"""What a caller calls the settings of a prediction, so that a message names what that caller can change."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Wording:
    """How settings are written where they are given.

    Attributes:
        prefix: Before the name of a setting.
        dash: In place of an underscore in its name.
        joint: Between name and value.
        msi: How an HR-MSI is given.
    """

    prefix: str
    dash: str
    joint: str
    msi: str

    def name(self, setting: str) -> str:
        """A setting as the caller writes it: ``--full-scale`` or ``full_scale``."""
        return self.prefix + setting.replace("_", self.dash)

    def given(self, setting: str, value: object) -> str:
        """A setting with a value: ``--full-scale 10000`` or ``full_scale=10000``."""
        return f"{self.name(setting)}{self.joint}{value}"


COMMAND = Wording("--", "-", " ", "give it with --msi FILE")
"""Options of the command line."""
QUERY = Wording("", "_", "=", "send it as the part msi beside the part lr, as multipart/form-data")
"""Parameters of an HTTP query."""
