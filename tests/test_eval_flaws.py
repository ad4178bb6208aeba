"""What may mislead about songs is told: silence, low rates, copies, references among them, uneven numbers."""

from pathlib import Path
from typing import cast

import numpy as np

from common.audio import Audio, write_audio
from eval import flaws
from eval.embeddings import Embedded, Encoder


def sound(path: Path, rate: int, seconds: float = 1.5, loud: float = 0.1) -> Path:
    samples = loud * np.random.default_rng(rate).uniform(-1, 1, (1, round(seconds * rate)))
    write_audio(path, Audio(samples.astype(np.float32), rate))
    return path


class Ear:
    """Hears 16 kHz."""

    name, sample_rate = "ear", 16000


EAR = cast(Encoder, Ear())


def embedded(*pairs: tuple[str, str]) -> Embedded:
    """Songs by name and the rows that their content has."""
    return Embedded(tuple(name for name, _ in pairs), tuple(Path(rows) for _, rows in pairs), {})


def test_silent_and_short_songs_are_named_and_what_is_no_audio_is_neither(tmp_path: Path):
    files = [sound(tmp_path / "good.wav", 8000), sound(tmp_path / "silent.wav", 8000, loud=0)]
    files.append(sound(tmp_path / "short.flac", 8000, seconds=0.5))
    (tmp_path / "torn.wav").write_bytes(b"RIFF")
    head = (tmp_path / "good.wav").read_bytes()[:40] + bytes(4)  # a WAV of no samples
    (tmp_path / "empty.wav").write_bytes(head)
    files += [tmp_path / "torn.wav", tmp_path / "empty.wav"]
    assert flaws.faint("mine", files) == [
        "1 of 5 songs of mine are silent, and count all the same: silent.wav",
        "1 of 5 songs of mine are shorter than 1 s, and count all the same: short.flac",
    ]
    assert [flaws.opens(f) for f in files] == [True, True, True, False, False]


def test_low_rates_are_named_where_not_all_songs_have_the_same(tmp_path: Path):
    low, high = sound(tmp_path / "low.wav", 8000), sound(tmp_path / "high.wav", 44100)
    told = flaws.narrow(EAR, {"mine": [low, high], "the references": [high]})
    assert len(told) == 1
    assert told[0].startswith(
        "1 of 2 songs of mine have a lower sampling rate than the 16000 Hz that ear hears"
    )
    assert told[0].endswith("low.wav (8000 Hz)")
    assert flaws.narrow(EAR, {"mine": [low], "the references": [low]}) == []
    wider = sound(tmp_path / "wider.wav", 48000)
    assert flaws.narrow(EAR, {"mine": [wider], "the references": [high]}) == []


def test_copies_and_songs_that_are_references_are_named():
    songs = embedded(("a", "1"), ("b", "2"), ("c", "1"))
    assert flaws.copies("mine", songs) == [
        "1 of 3 songs of mine are copies of others, and count as often: c = a"
    ]
    assert flaws.copies("mine", embedded(("a", "1"), ("b", "2"))) == []
    assert (
        "1 of 3 songs of mine are references themselves"
        in flaws.known("mine", songs, embedded(("x", "2")))[0]
    )
    assert flaws.known("mine", songs, embedded(("x", "3"))) == []


def test_unequal_numbers_of_songs_are_named():
    assert flaws.uneven({"mine": 5, "yours": 5}) == []
    assert "(mine 5, yours 3)" in flaws.uneven({"mine": 5, "yours": 3})[0]
