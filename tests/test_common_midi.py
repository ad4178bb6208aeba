"""MIDI: our own files come back whole, other people's give a lead sheet."""

import logging
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

import mido
import pytest
from hypothesis import HealthCheck, given, settings
from score_strategies import scores

from common.errors import ScoreError
from common.midi import from_midi, to_midi
from common.score import HOLD, ChordChange, Note, Score, Section
from common.theory import Key


@settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))
@given(scores())
def test_reading_what_was_written_gives_the_same_score(score: Score) -> None:
    with TemporaryDirectory() as folder:
        path = Path(folder) / "score.mid"
        to_midi(score, path)
        assert from_midi(path) == score


def foreign(path: Path, ppq: int = 96, late: int = 0) -> None:
    """Two bars as a sequencer writes them: bass, a pad with chords, a melody with karaoke words, drums."""
    file = mido.MidiFile(ticks_per_beat=ppq)
    head, pad, tune, drums = (mido.MidiTrack() for _ in range(4))
    head += [mido.MetaMessage("set_tempo", tempo=500000), mido.MetaMessage("time_signature", numerator=3)]
    head += [mido.MetaMessage("key_signature", key="Am"), mido.MetaMessage("marker", text="Chorus 1")]
    for chord in ((45, 57, 60, 64), (43, 55, 59, 62)):
        pad += [mido.Message("note_on", note=n, channel=1) for n in chord]
        pad += [
            mido.Message("note_off", note=n, channel=1, time=3 * ppq if n == chord[0] else 0) for n in chord
        ]
    tune.append(mido.MetaMessage("lyrics", text="wo ", time=late))
    for pitch, word in ((69, "ai "), (71, "-"), (72, "ni/"), (67, "\\hello ")):
        tune += [mido.Message("note_on", note=pitch), mido.Message("note_off", note=pitch, time=ppq)]
        tune.append(mido.MetaMessage("lyrics", text=word))
    tune += [mido.Message("note_on", note=64), mido.Message("note_off", note=64, time=2 * ppq)]
    for _ in range(2):
        for key in (36, 42, 38):
            drums += [mido.Message("note_on", note=key, velocity=110, channel=9)]
            drums += [mido.Message("note_off", note=key, channel=9, time=ppq)]
    file.tracks.extend([head, pad, tune, drums])
    file.save(str(path))


def test_a_melody_alone_names_no_chord(tmp_path: Path) -> None:
    for name, notes in (("tune", (60, 60, 67, 67, 69, 69, 67)), ("piano", (48, 52, 55))):
        track = mido.MidiTrack()
        if name == "piano":
            track += [mido.Message("note_on", note=n) for n in notes]
            track += [mido.Message("note_off", note=n, time=1920 if n == notes[0] else 0) for n in notes]
        else:
            for n in notes:
                track += [mido.Message("note_on", note=n), mido.Message("note_off", note=n, time=480)]
        file = mido.MidiFile(ticks_per_beat=480)
        file.tracks.append(track)
        file.save(str(tmp_path / f"{name}.mid"))
    (alone,), (chords,) = (from_midi(tmp_path / f"{n}.mid").sections for n in ("tune", "piano"))
    assert alone.chords == () and chords.chords == (ChordChange(0, "C"),)


def test_other_peoples_files(tmp_path: Path) -> None:
    foreign(tmp_path / "a.mid")
    score = from_midi(tmp_path / "a.mid")
    assert (score.tempo, score.metre, score.key) == (120.0, (3, 4), Key(9, "minor"))
    (section,) = score.sections
    assert (section.tag, section.bars) == ("chorus", 2)
    assert [(n.start, n.duration, n.pitch) for n in section.notes] == [
        (0, 12, 69), (12, 12, 71), (24, 12, 72), (36, 12, 67), (48, 24, 64),
    ]  # fmt: skip
    assert [n.syllable for n in section.notes] == ["wo", "ai", HOLD, "ni", "hello"]
    assert section.notes[3].ends_line
    assert section.chords == (ChordChange(0, "Am"), ChordChange(36, "G"))
    assert section.groove is not None
    assert (section.groove.kick, section.groove.hat) == ("X...........", "....X.......")


def test_notes_off_the_grid_are_moved_with_a_warning(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    foreign(tmp_path / "a.mid", late=3)
    with caplog.at_level(logging.WARNING):
        score = from_midi(tmp_path / "a.mid")
    assert "5 notes were moved" in caplog.text
    assert score.sections[0].notes[0].start == 0


def test_faults_are_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(ScoreError, match="there is no MIDI file"):
        from_midi(tmp_path / "none.mid")
    (tmp_path / "bad.mid").write_bytes(b"RIFFnonsense")
    with pytest.raises(ScoreError, match="no MIDI file that can be read"):
        from_midi(tmp_path / "bad.mid")
    (tmp_path / "cut.mid").write_bytes(b"MThd\x00\x00\x00\x06\x00\x01\x00\x02\x01\xe0MTrk\x00\x00")
    with pytest.raises(ScoreError, match=r"cut\.mid"):
        from_midi(tmp_path / "cut.mid")
    song = Score(120, Key(0), (Section("verse", 1, notes=(Note(0, 12, 60),)),))
    with pytest.raises(ScoreError, match="can't be written"):
        to_midi(song, tmp_path / "no" / "such" / "folder.mid")
    empty = mido.MidiFile()
    empty.tracks.append(mido.MidiTrack())
    empty.save(str(tmp_path / "empty.mid"))
    with pytest.raises(ScoreError, match="needs a melody"):
        from_midi(tmp_path / "empty.mid")


def test_titles_and_words_keep_their_characters(tmp_path: Path) -> None:
    note = Note(0, 12, 60, "月", "yue4", ends_line=True)
    song = Score(98.5, Key(2, "gong"), (Section("verse", 1, notes=(note,)),), title="月光")
    to_midi(song, tmp_path / "a.mid")
    assert from_midi(tmp_path / "a.mid") == song
    assert from_midi(tmp_path / "a.mid") != replace(song, title="光")


def damaged(path: Path, event: bytes) -> Path:
    """A file of one note with one event of a conductor before it, in bytes that mido refuses to write."""
    notes = b"\x00\x90\x3c\x40\x60\x80\x3c\x00"
    body = b"\x00" + event + notes + b"\x00\xff\x2f\x00"
    path.write_bytes(
        b"MThd\x00\x00\x00\x06\x00\x01\x00\x01\x00\x60MTrk" + len(body).to_bytes(4, "big") + body
    )
    return path


def meta_event(kind: int, data: bytes) -> bytes:
    return bytes((0xFF, kind, len(data))) + data


@pytest.mark.parametrize(
    ("event", "message"),
    [
        (meta_event(0x59, b"\x0a\x00"), "no MIDI file that can be read"),
        (meta_event(0x51, b"\x00\x00\x00"), "0 microseconds"),
        (meta_event(0x58, b"\x00\x02\x18\x08"), "metre 0/4"),
        (meta_event(0x58, b"\x04\x08\x18\x08"), "metre 4/256"),
        (meta_event(0x01, b"baihua is great"), "begins as ours do"),
        (meta_event(0x01, b"baihua [1]"), "begins as ours do"),
        (meta_event(0x01, b'baihua {"bars": 2}'), "missing or wrong 'tempo'"),
        (meta_event(0x01, b'baihua {"energy": "x"}'), "missing or wrong 'energy'"),
        (
            meta_event(0x01, b'baihua {"energy": 1, "fill": false, "chords": [[0]]}'),
            "missing or wrong 'chords'",
        ),
        (meta_event(0x01, b'baihua {"energy": 1, "fill": true, "chords": [], "groove": [1]}'), "a groove is"),
        (meta_event(0x01, b'baihua {"word": 1, "reading": null, "ends_line": true}'), "wrong 'word'"),
        # A text that isn't UTF-8 beside an event that is damaged.
        (meta_event(0x03, b"\xff\xfe") + b"\x00" + meta_event(0x59, b"\x0a\x00"), "can be read"),
    ],
)
def test_damaged_events_are_score_errors(tmp_path: Path, event: bytes, message: str) -> None:
    path = damaged(tmp_path / "a.mid", event)
    with pytest.raises(ScoreError, match=message) as caught:
        from_midi(path)
    assert "a.mid" in str(caught.value)


def with_words_apart(
    path: Path, words: list[tuple[int, bytes]], name: str = "", kind: str = "lyrics"
) -> Path:
    """A bass and, from tick 192 on, a tune of four quarters; their words in a track without notes."""
    file = mido.MidiFile(ticks_per_beat=96, charset="latin-1")
    head, apart = mido.MidiTrack(), mido.MidiTrack()
    head += [mido.MetaMessage("set_tempo", tempo=500000), mido.MetaMessage("key_signature", key="C")]
    apart.append(mido.MetaMessage("track_name", name=name))
    now = 0
    for at, word in words:
        apart.append(mido.MetaMessage(kind, text=word.decode("latin-1"), time=at - now))
        now = at
    file.tracks += [head, apart]
    for channel, pitches in enumerate(((36, 38, 40, 41), (60, 62, 64, 65))):
        track = mido.MidiTrack()
        for number, pitch in enumerate(pitches):
            wait = 96 * (channel + 1) if number == 0 else 0
            track.append(mido.Message("note_on", note=pitch, channel=channel, time=wait))
            track.append(mido.Message("note_off", note=pitch, channel=channel, time=96))
        file.tracks.append(track)
    file.save(str(path))
    return path


def sung(path: Path) -> list[tuple[int, str | None, bool]]:
    return [(n.pitch, n.syllable, n.ends_line) for s in from_midi(path).sections for n in s.notes]


@pytest.mark.parametrize("encoding", ["utf-8", "gbk"])
def test_words_of_a_track_without_notes_go_to_the_melody(tmp_path: Path, encoding: str) -> None:
    words = [(192 + 96 * i, word.encode(encoding)) for i, word in enumerate(("我", "想\n", "回", "家"))]
    path = with_words_apart(tmp_path / "a.mid", words)
    assert sung(path) == [(60, "我", False), (62, "想", True), (64, "回", False), (65, "家", False)]


def test_karaoke_texts_near_their_notes(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    words = [(0, b"@KMIDI"), (190, b"\\la "), (192 + 100, b"le "), (192 + 192, b"/li "), (9000, b"lost ")]
    with caplog.at_level(logging.WARNING):
        path = with_words_apart(tmp_path / "a.kar", words, name="Words", kind="text")
        assert sung(path) == [(60, "la", False), (62, "le", True), (64, "li", False), (65, None, False)]
    assert "words that lie on no note of the melody are left out: lost" in caplog.text


def test_latin_words_are_read_with_a_warning(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        path = with_words_apart(tmp_path / "a.mid", [(192, "né".encode("latin-1"))])
        assert sung(path)[0][1] == "né"
    assert "neither UTF-8 nor GBK" in caplog.text
