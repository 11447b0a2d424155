"""Spell the settings of a prediction as the caller writes them, so that messages name what the caller can change."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Wording:
    """Spelling of settings.

    Attributes:
        prefix: Text before the name of a setting.
        dash: Replacement of the underscores in its name.
        joint: Text between name and value.
        msi: Instruction for passing an HR-MSI.
    """

    prefix: str
    dash: str
    joint: str
    msi: str

    def name(self, setting: str) -> str:
        """Return a setting as the caller writes it: ``--full-scale`` or ``full_scale``."""
        return self.prefix + setting.replace("_", self.dash)

    def given(self, setting: str, value: object) -> str:
        """Return a setting with a value: ``--full-scale 10000`` or ``full_scale=10000``."""
        return f"{self.name(setting)}{self.joint}{value}"

    def switch(self, setting: str) -> str:
        """Return a setting that is switched on: ``--other-wavelengths`` or ``other_wavelengths=true``."""
        return self.name(setting) if self.joint == " " else self.given(setting, "true")


COMMAND = Wording("--", "-", " ", "give it with --msi FILE")
"""Options of the command line."""
QUERY = Wording("", "_", "=", "send it as the part msi next to the part lr, as multipart/form-data")
"""Parameters of an HTTP query."""
