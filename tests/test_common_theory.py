"""Keys, chords and signatures."""

import pytest

from common.errors import ScoreError
from common.theory import CHORDS, NOTE_NAMES, Chord, Key, foreign_chord, key_signature, pitch_class


def test_chords_are_read_and_written() -> None:
    for root in NOTE_NAMES:
        for quality in CHORDS:
            assert str(Chord.parse(root + quality + "/G")) == root + quality + "/G"
    assert Chord.parse("Bbmaj7").classes == (10, 2, 5, 9)
    assert Chord.parse("C/E").bass_class == 4
    assert Chord.parse("Am").bass_class == 9


@pytest.mark.parametrize("symbol", ["H", "Cfoo", "", "c", "C/X"])
def test_other_symbols_are_refused(symbol: str) -> None:
    with pytest.raises(ScoreError):
        Chord.parse(symbol)


@pytest.mark.parametrize(
    ("text", "symbol"),
    [("Cmaj", "C"), ("A-7", "Am7"), ("F#ø", "F#m7b5"), ("C7b9", "C7"), ("N.C.", "N"),
     ("Gsus", "Gsus4"),
     ("D/F#", "D/F#"), ("Bbm7b5", "Bbm7b5"), ("Allegro", None),
     ("Coda", None), ("^slow", None), ("D/x", None)],
)  # fmt: skip
def test_other_peoples_chords(text: str, symbol: str | None) -> None:
    assert foreign_chord(text) == symbol


def test_keys() -> None:
    assert Key.parse("F# dorian") == Key(6, "dorian")
    assert Key.parse("Am").family == "minor"
    assert Key.parse("Dmix").classes == (2, 4, 6, 7, 9, 11, 0)
    assert all(Key.parse(str(Key(t, s))) == Key(t, s) for t in range(12) for s in ("major", "gong", "blues"))
    for wrong in ("X", "C lydian", ""):
        with pytest.raises(ScoreError):
            Key.parse(wrong)
    assert pitch_class("B♭") == 10


def test_signatures() -> None:
    assert {k for k, v in key_signature("D", "major").items() if v} == {"F", "C"}
    assert {k for k, v in key_signature("C", "minor").items() if v == -1} == {"B", "E", "A"}
    assert sum(key_signature("Db", "major").values()) == -5
    assert sum(key_signature("C#", "major").values()) == 7
    for tonic in NOTE_NAMES:  # the signature of a scale is the scale
        for scale in ("major", "minor", "dorian", "mixolydian"):
            notes = {(pitch_class(k) + v) % 12 for k, v in key_signature(tonic, scale).items()}
            assert notes == set(Key(pitch_class(tonic), scale).classes)
    with pytest.raises(ScoreError, match="8 sharps"):
        key_signature("G#", "major")


@pytest.mark.parametrize("bass", ["", "/E", "/Bb"])
@pytest.mark.parametrize("quality", CHORDS)
def test_every_chord_that_is_written_is_read(quality: str, bass: str) -> None:
    for root in NOTE_NAMES:
        assert foreign_chord(f"{root}{quality}{bass}") == f"{root}{quality}{bass}"
