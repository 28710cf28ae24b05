"""What ends in one sentence and exit code 2: errors that the user of a command can mend.

Their messages name what is wrong, where, and what to do. ``run_tool`` of :mod:`openmsra.engine.launch` catches
:class:`UserError`, so no module needs the launcher for an error. Each kind is also the built-in error that Python code expects.
"""


class UserError(Exception):
    """The common class of all kinds."""


class ToolError(UserError, ValueError):
    """Arguments of a command that cannot be used."""


class ConfigError(UserError, ValueError):
    """A config that cannot mean what its author wrote; the message lists every fault."""


class EmptyBudgetError(ConfigError):
    """Budgets that no architecture of the space meets; the message gives the attainable range."""


class MissingPackageError(UserError, ImportError):
    """A package that a paper needs is not installed; the message says what brings it."""


class MissingFileError(UserError, FileNotFoundError):
    """A file or folder that is not there."""


class PairError(MissingFileError):
    """A restored image without its degraded one, or two of them."""


class DataError(UserError, ValueError):
    """Data that cannot be used."""


class AnnotationError(DataError):
    """An annotation file that cannot be used; the message names file, line and fault."""


class ImageError(DataError):
    """An image that cannot be used; the message names the file and the reason."""


class VideoError(DataError):
    """A video that cannot be decoded; the message names the file and the reason."""


class SplitError(DataError):
    """Lists of videos that do not fit each other or the files."""


class BrokenDataError(UserError, RuntimeError):
    """Too many samples cannot be read; the message names some and where the list is."""


class NonFiniteLossError(UserError, RuntimeError):
    """A loss or gradient is not finite; the message names the terms, the samples and the saved batch."""


class PreemptedError(UserError, RuntimeError):
    """The training was asked to stop and has saved a checkpoint; ends in exit code 75 ("try again")."""


class CheckpointError(UserError, RuntimeError):
    """A checkpoint that cannot be read safely or does not fit the model; the message says why."""


class DamagedCheckpointError(CheckpointError):
    """A checkpoint file that is missing, truncated or altered; an older one may be whole."""


class CheckpointWriteError(UserError, OSError):
    """A checkpoint could not be written; raised on all processes alike."""
