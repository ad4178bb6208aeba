"""The sound of a record: its file, or the very song of its seed."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from common.audio import write_audio
from common.errors import ManifestError
from corpus.songs import song_audio
from corpus.synth import song


def test_a_song_without_a_file_is_made_again_whatever_length_it_was_drawn_with(tmp_path: Path) -> None:
    made = song(5, "train", durations=(12.0, 13.0))
    assert made.record.audio is None
    again = song_audio(made.record, tmp_path)
    assert np.array_equal(again.samples, made.audio.samples)
    write_audio(tmp_path / "a.wav", made.audio)
    read = song_audio(replace(made.record, audio="a.wav"), tmp_path)
    np.testing.assert_allclose(read.samples, made.audio.samples, atol=1e-4)


def test_a_song_that_nobody_can_make_again_is_named(tmp_path: Path) -> None:
    record = song(5, "train", durations=(12.0, 13.0)).record
    with pytest.raises(ManifestError, match=f"{record.id} has neither"):
        song_audio(replace(record, seed=None), tmp_path)
    with pytest.raises(ManifestError, match="another song by now"):
        song_audio(replace(record, tempo=(record.tempo or 0) + 1), tmp_path)
