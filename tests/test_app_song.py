"""A song's files: whole or absent, timed words, the recipe read back."""

import json
from pathlib import Path

import numpy as np
import pytest

from common.abc import to_abc
from common.audio import Audio, read_audio, read_tags, write_audio
from common.errors import AudioError
from common.lyrics import Lyrics
from common.score import ChordChange, Note, Score, Section
from common.song import Song, recipe_of, sung_lines, to_lrc
from common.theory import Key

RECIPE = {
    "request": {"description": '一首慢歌，"钢琴"', "seed": 3},
    "models": {"vae/model.safetensors": "ab"},
}


def tone(seconds: float = 1.0) -> Audio:
    wave = 0.3 * np.sin(2 * np.pi * 220 * np.arange(int(seconds * 8000)) / 8000)
    return Audio(np.stack([wave, wave]).astype(np.float32), 8000)


def score() -> Score:
    """Two sung lines at 120 a minute: 我想家 from beat 0, oh my 天 from beat 4, after an intro of one bar."""
    words = [("我", False), ("想", False), ("家", True), ("oh", False), ("my", False), ("天", True)]
    beats = [0, 1, 2, 4, 5, 6]
    notes = tuple(Note(12 * b, 12, 60 + b, w, None, end) for b, (w, end) in zip(beats, words))
    return Score(
        120.0,
        Key(0),
        (Section("intro", 1, (ChordChange(0, "C"),)), Section("verse", 2, (ChordChange(0, "Am"),), notes)),
        lead_in=0.25,
    )


def test_lines_are_timed_by_their_first_syllable() -> None:
    assert sung_lines(score()) == [(2.25, "我想家"), (4.25, "oh my天")]


def test_lrc_keeps_the_users_punctuation_when_the_lines_agree() -> None:
    lines = to_lrc(score(), Lyrics.parse("<verse>\n我，想家\noh my 天！"), "题").splitlines()
    assert lines == [
        "[ti:题]",
        "[by:Baihua]",
        "[length:00:06.25]",
        "[00:02.25]我，想家",
        "[00:04.25]oh my 天！",
    ]


def test_lrc_takes_the_scores_words_when_they_dont() -> None:
    lrc = to_lrc(score(), Lyrics.parse("<verse>\n我想家oh my 天"))
    assert "[00:02.25]我想家\n" in lrc and Lyrics.parse(lrc).lines == ("我想家", "oh my天")


def test_saved_song_has_its_files_and_its_recipe(tmp_path: Path) -> None:
    song = Song(tone(), score().lyrics(), score(), RECIPE)
    files = song.save(tmp_path / "歌.flac")
    assert [f.name for f in files] == ["歌.flac", "歌.lrc", "歌.abc"]
    assert sorted(p.name for p in tmp_path.iterdir()) == sorted(f.name for f in files)
    assert recipe_of(files[0]) == RECIPE
    assert read_tags(files[0])["title"] == "我想家"
    again = read_audio(files[0])
    assert again.sample_rate == 8000
    np.testing.assert_allclose(again.samples, song.audio.samples, atol=2**-15)


def test_without_a_score_the_words_are_plain_text(tmp_path: Path) -> None:
    lyrics = Lyrics.parse("<verse>\n我想家")
    files = Song(tone(), lyrics, None, RECIPE).save(tmp_path / "a.flac")
    assert [f.name for f in files] == ["a.flac", "a.txt"]
    assert Lyrics.parse(files[1].read_text(encoding="utf-8")) == lyrics


def test_an_instrumental_has_no_file_of_words(tmp_path: Path) -> None:
    silent = Lyrics.parse("<intro>\n<outro>")
    assert [f.name for f in Song(tone(), silent).save(tmp_path / "a.flac")] == ["a.flac"]


def test_a_song_removes_what_an_earlier_one_left_beside_it(tmp_path: Path) -> None:
    recipe = {**RECIPE, "lyrics": str(score().lyrics()), "score": to_abc(score())}
    path, silent = tmp_path / "a.flac", Song(tone(), Lyrics.parse("<intro>"), None, RECIPE)
    Song(tone(), score().lyrics(), score(), recipe).save(path)
    (tmp_path / "a.txt").write_text("mine", encoding="utf-8")
    silent.save(path)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.flac", "a.txt"]


@pytest.mark.parametrize(
    "case", ["no earlier song", "another maker's", "changed since", "edited words", "own score"]
)
def test_files_of_others_stay_beside_a_song(tmp_path: Path, case: str) -> None:
    path, words, sheet = (tmp_path / name for name in ("a.flac", "a.lrc", "a.abc"))
    if case == "another maker's":
        write_audio(path, tone(), {"TITLE": "x"})
    elif case != "no earlier song":
        request = {"description": "慢歌", "own_score": case == "own score"}
        recipe = {"request": request, "lyrics": str(score().lyrics()), "score": to_abc(score())}
        Song(tone(), score().lyrics(), score(), recipe).save(path)
    if case != "own score":
        sheet.write_text("X:1", encoding="utf-8")
    edited = words.read_text(encoding="utf-8") + "[00:09.00]加一行\n" if case == "edited words" else ""
    words.write_text(edited or "[00:01.00]我想家\n", encoding="utf-8")
    kept = words.read_bytes(), sheet.read_bytes()
    Song(tone(), Lyrics.parse("<intro>"), None, RECIPE).save(path)
    assert (words.read_bytes(), sheet.read_bytes()) == kept


@pytest.mark.parametrize("name", ["a.mp3", "a", "missing/a.flac"])
def test_a_place_where_no_song_can_be_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(AudioError, match=r"\.flac|doesn't exist"):
        Song(tone()).save(tmp_path / name)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("failing", ["audio", "text"])
def test_a_full_disk_leaves_nothing_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, failing: str
) -> None:
    def full(*args: object, **kwargs: object) -> None:
        raise OSError(28, "No space left on device")

    if failing == "audio":
        monkeypatch.setattr("common.audio._write_samples", full)
    else:
        monkeypatch.setattr(Path, "write_text", full)
    with pytest.raises(AudioError, match="No space left on device"):
        Song(tone(), score().lyrics(), score()).save(tmp_path / "a.flac")
    assert not list(tmp_path.iterdir())


def test_recipe_of_a_foreign_file(tmp_path: Path) -> None:
    write_audio(tmp_path / "a.flac", tone(), {"TITLE": "x"})
    with pytest.raises(AudioError, match="wasn't made by Baihua"):
        recipe_of(tmp_path / "a.flac")
    write_audio(tmp_path / "a.flac", tone(), {"BAIHUA_RECIPE": "{"})
    with pytest.raises(AudioError, match="isn't JSON"):
        recipe_of(tmp_path / "a.flac")
    (tmp_path / "b.flac").write_bytes(json.dumps(RECIPE).encode())
    with pytest.raises(AudioError):
        recipe_of(tmp_path / "b.flac")
