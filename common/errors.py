"""The faults of a user's input, one class for each kind.

    SongError
    ├── ConfigError       a setting is missing, misspelt, of the wrong type or contradicts another
    ├── AudioError        an audio file or array can't be read or used
    ├── LyricsError       lyrics can't be read, or can't be sung as asked
    ├── ScoreError        a score can't be read, or its bars don't add up
    ├── ManifestError     a record of a corpus breaks its schema
    ├── CheckpointError   a model folder or checkpoint can't be used
    └── RequestError      a description or a duration can't be served

The application shows the message of these and nothing else, so a message says what was
needed, what came, and what to do.
"""

import functools
import sys
from collections.abc import Callable
from typing import ParamSpec

P = ParamSpec("P")


class SongError(Exception):
    """A fault of the input, told to the user in one sentence."""


class ConfigError(SongError):
    """A setting is wrong."""


class AudioError(SongError):
    """Audio can't be read or used."""


class LyricsError(SongError):
    """Lyrics can't be read or sung."""


class ScoreError(SongError):
    """A score can't be read, or its bars don't add up."""


class ManifestError(SongError):
    """A record of a corpus breaks its schema."""


class CheckpointError(SongError):
    """A model folder or checkpoint can't be used."""


class RequestError(SongError):
    """A request can't be served."""


def refusal(error: OSError) -> str:
    """What the system refused, in one sentence with the name of the file."""
    where = f" {str(error.filename)!r}" if error.filename else ""
    return f"the system refused{where}: {error.strerror or error}"


def command(main: Callable[P, int | None]) -> Callable[P, int]:
    """A command that returns its exit status: a user's fault is one sentence on stderr and status 2.

    So is what the system refuses: a full disk, a file in the place of a folder.
    """

    @functools.wraps(main)
    def told(*args: P.args, **kwargs: P.kwargs) -> int:
        try:
            return main(*args, **kwargs) or 0
        except SongError as error:
            print(f"error: {error}", file=sys.stderr)
        except OSError as error:
            print(f"error: {refusal(error)}", file=sys.stderr)
        return 2

    return told


def run_command(main: Callable[[], int | None]) -> None:
    """End the process with the status of a `command`."""
    sys.exit(command(main)())
