"""The reader of MuChin, on invented songs in its layout."""

import json
import logging
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from common.description import Audience
from common.errors import ManifestError
from common.lyrics import Lyrics
from corpus import manifest, muchin

FIXTURE = Path(__file__).parent / "fixtures" / "muchin"


@pytest.fixture(scope="module")
def first():
    return {record.id: record for record in muchin.read(FIXTURE / "v1", 1)}


@pytest.fixture(scope="module")
def second():
    return {record.id: record for record in muchin.read(FIXTURE / "v2", 2)}


@pytest.fixture
def broken(tmp_path):
    """A copy of the first version to break."""
    return Path(shutil.copytree(FIXTURE / "v1", tmp_path / "v1"))


def said(record, audience, dimension):
    return [
        (d.text, d.length) for d in record.descriptions if (d.audience, d.dimension) == (audience, dimension)
    ]


def test_lyrics_keep_their_sections(first):
    lyrics = first["muchin-s_0002"].lyrics
    assert [section.tag for section in lyrics.sections] == ["intro", "verse", "pre-chorus", "chorus"]
    assert lyrics.sections[1].lines == ("操场边的风吹起衣角", "我们把名字刻在旧木桌")
    assert first["muchin-s_0001"].lyrics.sections[-1].tag == "outro", "MuChin says ending"


def test_times_are_those_of_the_lrc_file(first):
    timing = first["muchin-s_0001"].timing
    assert [(line.start, line.end) for line in timing[:3]] == [(12.5, 16.0), (16.0, 20.25), (20.25, 25.0)]
    assert "某某" not in "".join(line.text for line in timing), "the title isn't sung"
    assert timing[4].end == 54.0, "a line before a pause doesn't fill it"


def test_lines_that_were_split_by_the_annotators_are_still_found(first):
    assert first["muchin-s_0002"].timing[1].text == "操场边的风吹起衣角 我们把名字刻在旧木桌"


def test_tags_are_words_and_free_texts_phrases_or_sentences(first):
    song = first["muchin-s_0001"]
    assert said(song, Audience.PROFESSIONAL, "情绪感受（歌词和旋律）") == [
        ("安静的", "word"),
        ("思念", "word"),
    ]
    assert said(song, Audience.PROFESSIONAL, "配器与音效")[2] == ("钢琴、木吉他", "phrase")
    assert said(song, Audience.AMATEUR, "描述") == [("听着像晚上坐长途车，窗外一直有灯。", "sentence")]
    assert said(song, Audience.AMATEUR, "现场版") == [("不是现场版", "word")]
    assert said(song, Audience.AMATEUR, "音质") == [("音质清晰", "word")]
    assert not any(d.text.startswith("无") for d in song.descriptions), "无 says nothing"


def test_what_nobody_said_is_unknown(first):
    night, desk = first["muchin-s_0001"], first["muchin-s_0002"]
    assert (night.genre, night.singer) == ("流行", "female")
    assert (desk.genre, desk.singer) == (None, None), "a choir of both is neither"
    assert night.tempo is night.key is night.instruments is night.mood is None
    assert night.provenance["lyrics"] == "annotated" and night.provenance["duration"] == "last time stamp"
    assert "genre" not in desk.provenance


def test_the_questions_tell_who_speaks(second):
    """In the published sample of the second version each audience's answers lie in the other's file."""
    for song in second.values():
        assert said(song, Audience.PROFESSIONAL, "速度与节奏") and said(song, Audience.AMATEUR, "快慢感受")
        assert not said(song, Audience.AMATEUR, "速度与节奏")
        texts = [d.text for d in song.descriptions]
        assert "快慢感受" not in texts and "这首歌的音质怎么样？" not in texts


def test_a_raw_lyric_that_is_a_description_leaves_the_times_unknown(caplog):
    with caplog.at_level(logging.WARNING):
        song = next(r for r in muchin.read(FIXTURE / "v2", 2) if r.id == "muchin-qq_301")
    assert (
        song.timing == () and song.provenance["duration"] == "estimated" and "timing" not in song.provenance
    )
    assert "raw_lyric" in caplog.text


def test_merging_keeps_a_song_of_both_versions_once(first, second):
    same = muchin.overlap(FIXTURE / "v2" / "overlap.jsonl")
    assert same == {"muchin-qq_101": "muchin-s_0001"}
    for known in (same, None):  # without the list it is found by its lines
        merged = muchin.merge(list(first.values()), list(second.values()), known)
        assert [r.id for r in merged] == ["muchin-qq_202", "muchin-qq_301", "muchin-s_0001", "muchin-s_0002"]
        assert next(r for r in merged if r.id == "muchin-s_0001").source == "muchin-v1"


def test_recordings_of_one_song_share_a_split(first):
    from dataclasses import replace

    song = first["muchin-s_0001"]
    again = [
        replace(song, id=f"muchin-x{n}", split=split) for n, split in enumerate(("train", "valid", "test"))
    ]
    assert len({record.split for record in muchin.merge(again, [])}) == 1
    assert muchin.split_of(song.lyrics) == song.split


def test_recordings_of_one_song_share_a_split_in_the_second_version_too(first):
    song = next(iter(first.values()))
    own = [f"{word}天的第一句歌词写在这里" for word in "春夏秋冬晴阴雨雪"]
    songs = []
    for number in range(40):
        lyrics = Lyrics.parse("\n".join(["[verse]", *own, f"只有这一遍才唱的新句子{number}"]))
        songs.append(replace(song, id=f"muchin-{number:02}", lyrics=lyrics, split=muchin.split_of(lyrics)))
    assert len({song.split for song in songs}) > 1
    assert {song.split for song in muchin.merge([], songs)} == {songs[0].split}


def test_lines_behind_the_end_of_an_excerpt_are_not_timed(broken, tmp_path):
    import soundfile

    song = next(path.parent for path in sorted(broken.rglob("raw_lyric")))
    soundfile.write(song / f"{song.name}.wav", np.zeros(15 * 8000), 8000)
    record = muchin.read(broken)[0]
    assert record.duration == 15 and record.timing and record.timing[-1].end <= 15
    manifest.write(tmp_path / "m.jsonl", [record])


def test_two_folders_of_one_id_are_named(broken):
    song = next(path.parent for path in sorted(broken.rglob("raw_lyric")))
    shutil.copytree(song, broken / "again" / song.name)
    with pytest.raises(ManifestError, match="have the same id"):
        muchin.read(broken)


def test_rhyme_marks(first):
    marks = muchin.rhyme_marks(FIXTURE / "v1" / "bm-data" / "s_0001")
    assert marks == ((False, True, True), (True, True), (True,))


def test_records_pass_through_a_manifest(first, tmp_path):
    manifest.write(tmp_path / "manifest.jsonl", first.values())
    assert manifest.read(tmp_path / "manifest.jsonl") == list(first.values())


def test_a_recording_gives_its_duration(broken):
    import numpy as np
    import soundfile

    song = broken / "bm-data" / "s_0001"
    soundfile.write(song / "s_0001.wav", np.zeros((4000, 2)), 2000)
    (broken / "bm-data" / "s_0002" / "s_0002.mp3").write_bytes(
        b"version https://git-lfs.github.com/spec/v1\n"
    )
    night, desk = muchin.read(broken, 1)
    assert (night.audio, desk.audio) == ("bm-data/s_0001/s_0001.wav", None)
    assert night.duration == 2.0 and night.provenance["duration"] == "measured"


@pytest.mark.parametrize(
    ("name", "spoil", "message"),
    [
        ("str_lyric", lambda text: "", "str_lyric"),
        ("prof_desc_json", lambda text: text[:-9], "prof_desc_json is no JSON"),
        (
            "prof_desc_json",
            lambda text: text.replace('"tid"', '"tit"', 1),
            "answer 1, field 'tid' is missing",
        ),
        ("amat_desc_json", lambda text: text.replace("t-fast", "t-slow"), "'t-slow' isn't in the lookup"),
        ("amat_desc_json", lambda text: text.replace('"ans"', '"answers"'), "field 'ans'"),
        ("raw_lyric", lambda text: text.replace("[", "("), "raw_lyric has no time stamp"),
        ("prof_desc_json", lambda text: '{"ans": [{"id": "q-tools", "tags": 5}]}', "field 'tags': a list"),
        ("meta_info", lambda text: None, "meta_info can't be read"),
    ],
)
def test_a_broken_file_is_named(broken, name, spoil, message):
    path = broken / "bm-data" / "s_0001" / name
    text = spoil(path.read_text(encoding="utf-8"))
    path.unlink()
    if text is not None:
        path.write_text(text, encoding="utf-8")
    with pytest.raises(ManifestError, match="s_0001") as error:
        muchin.read(broken, 1)
    assert message in str(error.value)


def test_missing_lookups_and_songs_are_named(broken, tmp_path):
    (broken / "qidmap.json").unlink()
    with pytest.raises(ManifestError, match="qidmap"):
        muchin.read(broken, 1)
    with pytest.raises(ManifestError, match="prof_desc_json"):
        muchin.read(tmp_path / "empty", 1)
    with pytest.raises(ManifestError, match="versions 1 and 2"):
        muchin.read(FIXTURE / "v1", 3)


def test_a_list_of_matches_with_a_broken_line(tmp_path):
    path = tmp_path / "overlap.jsonl"
    path.write_text(json.dumps({"query": "a"}) + "\n", encoding="utf-8")
    with pytest.raises(ManifestError, match="line 1"):
        muchin.overlap(path)


def test_rhyme_marks_that_miss_a_line(broken):
    path = broken / "bm-data" / "s_0002" / "str_rhyme"
    path.write_text(path.read_text(encoding="utf-8").replace("ccccccc\n", ""), encoding="utf-8")
    with pytest.raises(ManifestError, match="section 3"):
        muchin.rhyme_marks(path.parent)
