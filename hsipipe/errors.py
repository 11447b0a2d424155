"""Errors that a person can act on: what was got, what was expected, how to mend it.

Each is a :class:`HsipipeError` (caught at the command line, printed without a traceback) and also the
builtin that a caller would expect.
"""

import re

_CONTROL = re.compile(r"[\x00-\x1f\x7f]+")


def one_line(error: object) -> str:
    """Return the message of an error without line breaks and control characters.

    Args:
        error: An error, or its text. An error without a message gives the name of its type.
    """
    return " ".join(_CONTROL.sub(" ", str(error)).split()) or type(error).__name__


class HsipipeError(Exception):
    """Base of every error that the user can mend."""

    def __str__(self) -> str:
        # KeyError would show the repr of its message.
        return str(self.args[0]) if self.args else ""


class ParamsError(HsipipeError, ValueError):
    """params.yaml holds an unknown key or a value that does not fit."""


class UnknownNameError(HsipipeError, KeyError):
    """A name that no registry knows."""


class DataError(HsipipeError, ValueError):
    """A cube that cannot be used: NaN, dead band, wrong band count, scale that does not divide."""


class FileFormatError(HsipipeError, ValueError):
    """A file that cannot be read as what it claims to be: truncated, corrupt, unknown format."""


class MissingInputError(HsipipeError, FileNotFoundError):
    """A file, folder or artifact that should be there and is not."""


class MissingExtraError(HsipipeError, ImportError):
    """A package of an extra of hsipipe is not installed."""


class UnreachableError(MissingInputError):
    """An address that does not give its file at the moment; the same again may do later."""


class IntegrityError(HsipipeError, ValueError):
    """Bytes that differ from their recorded sha256, or a store that is not complete."""


class AlreadyRunningError(HsipipeError, RuntimeError):
    """Another process works on the same output."""


class StageFailedError(HsipipeError, RuntimeError):
    """A stage of the pipeline ended with an error; carries the stage's own message."""


class StageUnreachableError(StageFailedError):
    """A stage ended with an :class:`UnreachableError`."""


class TransferFailedError(HsipipeError, ConnectionError):
    """Data did not get to its remote storage, or did not come from it."""


class TrainingError(HsipipeError, RuntimeError):
    """Training cannot go on, for example because the loss is NaN."""


class TrainingPausedError(HsipipeError, RuntimeError):
    """Training reached its time limit; its resume point is saved and nothing is published."""


class StagePausedError(StageFailedError, TrainingPausedError):
    """A stage of the pipeline ended with a :class:`TrainingPausedError`."""


class ModelInputError(HsipipeError, ValueError):
    """A model was given a cube that it was not made for."""
