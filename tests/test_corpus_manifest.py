"""The manifest: records read back as written, and every fault named by line and field."""

import json
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from common.description import Audience, Description
from common.errors import ManifestError
from common.lyrics import Lyrics, LyricSection
from common.score import ChordChange, Note, Score, Section
from common.theory import Key
from corpus import manifest
from corpus.record import SongRecord, TimedLine, TimedSyllable

text = st.text("春夏秋冬abc 0", min_size=1, max_size=8).filter(lambda t: t.strip() == t)
names = st.text("春夏秋冬abc0_.-", min_size=1, max_size=8).filter(lambda t: t[0] != ".")
seconds = st.floats(0, 30, allow_nan=False)
spans = st.tuples(seconds, seconds).map(sorted)
syllables = st.builds(
    lambda t, span, reading, pitch: TimedSyllable(t, *span, reading, pitch),
    text, spans, st.none() | st.just("chun1"), st.none() | st.integers(0, 127),
)  # fmt: skip
lines = st.builds(
    lambda t, span, inner: TimedLine(t, *span, tuple(inner)), text, spans, st.lists(syllables, max_size=2)
)
descriptions = st.builds(
    Description, text, st.sampled_from(Audience), text, st.sampled_from(["word", "phrase", "sentence"])
)
paths = st.sampled_from(["audio/a.flac", "b.wav"])
lyrics = st.just(Lyrics((LyricSection("intro"), LyricSection("verse", ("春天来了", "花开满山")))))
scores = st.just(
    Score(
        tempo=96.5,
        key=Key(2, "minor"),
        sections=(
            Section("verse", 2, (ChordChange(0, "Dm"),), (Note(0, 12, 62, "春", "chun1"), Note(12, 6, 64))),
        ),
    )
)


@st.composite
def records(draw):
    unknown = st.none()
    return SongRecord(
        id=draw(names),
        source=draw(text),
        licence=draw(text),
        split=draw(st.sampled_from(["train", "valid", "test"])),
        duration=draw(st.floats(30, 300)),
        audio=draw(unknown | paths),
        seed=draw(unknown | st.integers(0, 2**62)),
        stems=draw(st.dictionaries(st.sampled_from(manifest.STEMS), paths, max_size=2)),
        lyrics=draw(unknown | lyrics),
        timing=tuple(draw(st.lists(lines, max_size=2))),
        score=draw(unknown | scores),
        descriptions=tuple(draw(st.lists(descriptions, max_size=3))),
        genre=draw(unknown | text),
        tempo=draw(unknown | st.floats(40, 200)),
        key=draw(unknown | st.sampled_from(["C major", "F# yu"])),
        instruments=draw(unknown | st.lists(text, max_size=2).map(tuple)),
        singer=draw(unknown | st.sampled_from(["female", "male", "child", "none"])),
        held_out=draw(st.sampled_from([(), ("phrasing",), ("phrasing", "combination")])),
        provenance=draw(st.dictionaries(st.sampled_from(["genre", "tempo"]), text, max_size=2)),
    )


PLAIN = SongRecord(id="a", source="synthetic", licence="Apache-2.0", split="train", duration=30.0)


@settings(max_examples=40, deadline=None)
@given(record=records())
def test_a_record_reads_back_as_written(record):
    assert manifest.from_json(json.loads(json.dumps(manifest.to_json(record)))) == record


def test_what_is_unknown_is_not_written():
    assert set(manifest.to_json(PLAIN)) == {"id", "source", "licence", "split", "duration"}
    assert manifest.from_json({**manifest.to_json(PLAIN), "genre": None}).genre is None
    assert manifest.from_json(manifest.to_json(replace(PLAIN, instruments=()))).instruments == ()


def test_a_file_reads_back_as_written(tmp_path):
    songs = [replace(PLAIN, id=name, genre="民谣") for name in "abc"]
    manifest.write(tmp_path / "deep" / "manifest.jsonl", iter(songs))
    assert manifest.read(tmp_path / "deep" / "manifest.jsonl") == songs
    assert "民谣" in (tmp_path / "deep" / "manifest.jsonl").read_text(encoding="utf-8")


def test_a_mark_of_the_byte_order_is_no_fault(tmp_path):
    path = tmp_path / "manifest.jsonl"
    manifest.write(path, [SongRecord("a", "test", "CC0-1.0", "train", 1.0)])
    marked = tmp_path / "marked.jsonl"
    marked.write_bytes(b"\xef\xbb\xbf" + path.read_bytes())
    assert manifest.read(marked) == manifest.read(path)


def test_reading_streams(tmp_path):
    path = tmp_path / "manifest.jsonl"
    path.write_text(json.dumps(manifest.to_json(PLAIN)) + "\n\nbroken\n", encoding="utf-8")
    stream = manifest.iterate(path)
    assert next(stream) == PLAIN
    with pytest.raises(ManifestError, match="line 3: this is no JSON"):
        next(stream)


def test_a_failed_write_leaves_the_old_file(tmp_path):
    path = tmp_path / "manifest.jsonl"
    manifest.write(path, [PLAIN])
    with pytest.raises(ManifestError, match="record 2, field 'id': 'a' is already"):
        manifest.write(path, [PLAIN, PLAIN])
    assert manifest.read(path) == [PLAIN] and list(tmp_path.iterdir()) == [path]


def test_a_double_id_names_both_lines(tmp_path):
    path = tmp_path / "manifest.jsonl"
    path.write_text((json.dumps(manifest.to_json(PLAIN)) + "\n") * 2, encoding="utf-8")
    with pytest.raises(ManifestError, match="line 2, field 'id': 'a' is already the song of line 1"):
        manifest.read(path)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(ManifestError, match=r"nowhere\.jsonl"):
        manifest.read(tmp_path / "nowhere.jsonl")


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("id", 7, "a text"),
        ("id", None, "is missing"),
        ("id", "../../x", "letters, digits"),
        ("id", "a/b", "letters, digits"),
        ("id", "a\0b", "letters, digits"),
        ("id", ".hidden", "letters, digits"),
        ("id", "歌" * 81, "letters, digits"),
        ("audio", ".", "the path of a file"),
        ("audio", "a\0.flac", "the path of a file"),
        ("stems", {"vocals": "./"}, "the path of a file"),
        ("split", "dev", "one of train, valid, test"),
        ("duration", "30", "a number"),
        ("duration", 0, "above zero"),
        ("duration", float("nan"), "a number"),
        ("duration", True, "a number"),
        ("seed", 1.5, "a whole number"),
        ("audio", "../song.flac", "inside the manifest's folder"),
        ("audio", "/song.flac", "inside the manifest's folder"),
        ("audio", "C:\\song.flac", "inside the manifest's folder"),
        ("stems", {"vocals": "a/../../b.flac"}, "inside the manifest's folder"),
        ("stems", {"choir": "a.flac"}, "'choir' is unknown"),
        ("lyrics", ["春天"], "a text"),
        ("lyrics", "<refrein>\n春天", "unknown section"),
        ("timing", {"text": "春"}, "a list"),
        ("timing", [{"text": "春", "start": 2.0, "end": 1.0}], "item 1: a time from 0 on"),
        ("timing", [{"text": "春", "start": -1.0, "end": 1.0}], "item 1: a time from 0 on"),
        ("timing", [{"text": "春", "start": 0.0}], "field 'end' is missing"),
        ("timing", [{"text": "春", "start": 90.0, "end": 91.0}], "the song lasts 30 s"),
        ("score", {"tempo": 90}, "missing or wrong field"),
        (
            "descriptions",
            [{"text": "慢", "audience": "expert", "dimension": "速度", "length": "word"}],
            "expert",
        ),
        (
            "descriptions",
            [{"text": "慢", "audience": "amateur", "dimension": "速度", "length": "long"}],
            "long",
        ),
        ("tempo", -3, "above zero"),
        ("key", "H moll", "note name"),
        ("singer", "robot", "female, male, child, none"),
        ("instruments", "钢琴", "a list"),
        ("held_out", ["theme"], "phrasing, combination"),
        ("provenance", {"colour": "measured"}, "'colour' is unknown"),
        ("colour", "red", "is unknown"),
    ],
)
def test_a_wrong_field_is_named(field, value, message):
    data = {**manifest.to_json(PLAIN), field: value}
    with pytest.raises(ManifestError, match=f"m.jsonl, line 4, field '{field}'") as error:
        manifest.from_json(data, "m.jsonl, line 4")
    assert message in str(error.value)


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        (("metre",), [4], "metre needs a list of 2"),
        (("metre",), [4, 4, 4], "metre needs a list of 2"),
        (("metre",), [4.0, 4], "metre[0] needs a whole number, but 4.0 came"),
        (("title",), 5, "title needs a text"),
        (("title",), ["a"], "title needs a text"),
        (("tempo",), "90", "tempo needs a number"),
        (("tempo",), float("inf"), "tempo needs a number"),
        (("swing",), None, "swing needs a number"),
        (("meta",), {"genre": 5}, "meta.genre needs a text"),
        (("colour",), "red", "colour is unknown"),
        (("key", "tonic"), 1.5, "key.tonic needs a whole number"),
        (("key",), "C", "key needs an object"),
        (("sections",), {"tag": "verse"}, "sections needs a list"),
        (("sections", 0, "bars"), 2.5, "sections[0].bars needs a whole number"),
        (("sections", 0, "tag"), 3, "sections[0].tag needs a text"),
        (("sections", 0, "fill"), "no", "sections[0].fill needs true or false"),
        (("sections", 0, "groove"), {"kick": "x"}, "sections[0].groove.snare is missing"),
        (("sections", 0, "notes", 1, "pitch"), 60.5, "sections[0].notes[1].pitch needs a whole number"),
        (("sections", 0, "notes", 0, "duration"), True, "sections[0].notes[0].duration needs a whole"),
        (("sections", 0, "notes", 0, "syllable"), 7, "sections[0].notes[0].syllable needs a text"),
        (("sections", 0, "chords", 0, "start"), 0.5, "sections[0].chords[0].start needs a whole number"),
        (("sections", 0, "chords", 0), None, "sections[0].chords[0] needs an object"),
    ],
)
def test_a_wrong_field_of_a_score_is_named_by_its_path(path, value, message):
    notes = (Note(0, 12, 62, "春", "chun1"), Note(12, 6, 64))
    score = Score(96.5, Key(2), (Section("verse", 2, (ChordChange(0, "Dm"),), notes),))
    data = json.loads(json.dumps(manifest.to_json(replace(PLAIN, score=score))))
    place = data["score"]
    for step in path[:-1]:
        place = place[step]
    place[path[-1]] = value
    with pytest.raises(ManifestError, match=r"m\.jsonl, line 4, field 'score'") as error:
        manifest.from_json(data, "m.jsonl, line 4")
    assert message in str(error.value)


@pytest.mark.parametrize("field", ["groove", "fill", "energy", "chords"])
def test_nothing_of_a_section_is_taken_for_granted(field):
    score = Score(96.5, Key(2), (Section("verse", 2),))
    data = json.loads(json.dumps(manifest.to_json(replace(PLAIN, score=score))))
    del data["score"]["sections"][0][field]
    with pytest.raises(ManifestError, match=rf"sections\[0\].{field} is missing"):
        manifest.from_json(data)


def test_a_line_that_is_no_object():
    with pytest.raises(ManifestError, match="an object is needed"):
        manifest.from_json([1], "m.jsonl, line 1")


@pytest.mark.parametrize("line", ['{"id": ' + "9" * 5000 + "}", "[" * 100_000])
def test_json_beyond_the_reader_s_limits_is_named_too(tmp_path, line):
    path = tmp_path / "manifest.jsonl"
    path.write_text(line + "\n", encoding="utf-8")
    with pytest.raises(ManifestError, match="line 1"):
        manifest.read(path)
