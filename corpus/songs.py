"""From a record to its sound: a file beside the manifest, or a synthetic song made again from its seed."""

from pathlib import Path

from common.audio import Audio, read_audio
from common.errors import ManifestError
from corpus.plan import drawn_as
from corpus.record import SongRecord


def song_audio(record: SongRecord, root: Path) -> Audio:
    """The audio of a record.

    Args:
        root: the folder that the record's path starts from, which is its manifest's.
    Raises:
        ManifestError: there is neither file nor seed, or this version of the corpus makes another song of it.
        AudioError: the file can't be read.
    """
    if record.audio is not None:
        return read_audio(root / record.audio)
    if record.seed is None:
        raise ManifestError(f"song {record.id} has neither an audio file nor a seed to make it from")
    drawn = drawn_as(record)
    if drawn is None:
        raise ManifestError(f"song {record.id} has no audio file, and its seed makes another song by now")
    from corpus.synth import song  # needs the extra `corpus`, which reading files doesn't

    return song(record.seed, record.split, **drawn[1]).audio
