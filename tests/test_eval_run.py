"""A whole run on tiny songs: what is scored, compared, warned of and written; prompts and the protocol."""

import csv
import json
import re
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from common.audio import Audio, write_audio
from common.description import Audience, Description
from common.errors import ConfigError, ManifestError, RequestError, command
from corpus import manifest
from corpus.record import SongRecord
from eval import embeddings, fad, prompts, protocol, report, run, similarity
from eval.prompts import Prompt

RATE = 8000
SONGS = 12


class Pitch:
    """Hears how high a song is; reads a number as a height. A sound of that height is near the number."""

    name, sample_rate, dimensions, contrastive = "chinmu", RATE, 3, True
    convention, digest = "8 kHz, two windows", "0"

    def embed(self, audio: Audio) -> np.ndarray:
        samples = embeddings.mono(audio, RATE)
        return np.stack([self._vector(half) for half in np.array_split(samples, 2)])

    def _vector(self, samples: np.ndarray) -> np.ndarray:
        peak = float(np.abs(np.fft.rfft(samples)).argmax()) * RATE / len(samples)
        return self._of(peak) + 0.01 * np.array([samples[0], samples[5], 0])

    def _of(self, hertz: float) -> np.ndarray:
        angle = np.log(max(hertz, 50) / 100) * 2
        return np.array([np.cos(angle), np.sin(angle), 0.2])

    def embed_text(self, texts: list[str]) -> np.ndarray:
        return np.stack([self._of(float(re.findall(r"\d+", t)[0])) for t in texts])


def tone(hertz: float, seed: int) -> Audio:
    rng = np.random.default_rng(seed)
    time = np.arange(RATE) / RATE
    return Audio(
        (0.4 * np.sin(2 * np.pi * hertz * time) + 0.02 * rng.standard_normal(RATE))[None].astype("f4"), RATE
    )


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Real songs of rising pitch; a system that follows its prompts and one that is a fourth too high."""
    root = tmp_path_factory.mktemp("run")
    for inner in ("references", "systems/faithful", "systems/deaf"):
        (root / inner).mkdir(parents=True)
    rows = []
    for number in range(SONGS):
        hertz = 120.0 * 1.2**number
        write_audio(root / f"references/song{number}.wav", tone(hertz, number))
        for audience in Audience:
            name = f"song{number}-{audience}"
            rows.append({"id": name, "description": f"约{hertz:.0f}赫兹", "audience": audience.value})
            write_audio(root / f"systems/faithful/{name}-s1.wav", tone(hertz * 1.02, 100 + number))
            write_audio(root / f"systems/deaf/{name}-s1.wav", tone(1000 / (number + 1), 200 + number))
    (root / "prompts.jsonl").write_text("\n".join(json.dumps(r, ensure_ascii=False) for r in rows))
    adherence = {"key": {"value": 0.5, "low": 0.25, "high": 0.75, "count": 24, "chance": 0.1}}
    (root / "systems/faithful/adherence.json").write_text(json.dumps(adherence))
    return root


@pytest.fixture(scope="module")
def scored(folder: Path) -> tuple[run.Scores, Path]:
    settings = run.Settings(
        songs=str(folder / "systems"),
        references=str(folder / "references"),
        prompts=str(folder / "prompts.jsonl"),
        out=str(folder / "out"),
        encoders=["chinmu"],
        cache=str(folder / "cache"),
    )
    patch = pytest.MonkeyPatch()
    patch.setattr(embeddings, "load", lambda *_: Pitch())
    try:
        scores = run.measure(settings)
    finally:
        patch.undo()
    run.write(scores, folder / "out", 2)
    return scores, folder / "out"


def value(scores: run.Scores, metric: str, system: str, audience: str = "both") -> run.Row:
    found = [r for r in scores.rows if (r.metric, r.system, r.audience) == (metric, system, audience)]
    assert len(found) == 1, (metric, system, audience, found)
    return found[0]


def test_the_faithful_system_wins_between_floor_and_ceiling(scored: tuple[run.Scores, Path]):
    scores, _ = scored
    for metric in ("SST", "ASOA"):
        faithful, deaf = value(scores, metric, "faithful"), value(scores, metric, "deaf")
        assert faithful.estimate.low > deaf.estimate.high
        assert faithful.null is not None and faithful.estimate.low > faithful.null
        floor = value(scores, metric, "floor: faithful")
        assert floor.estimate.value == pytest.approx(faithful.null)
        assert value(scores, metric, "ceiling").estimate.value >= faithful.estimate.value - 0.01
        assert faithful.estimate.count == SONGS  # two prompts of a song are one song
    distances = [value(scores, "FAD", s).estimate.value for s in ("faithful", "deaf", "floor")]
    assert distances[0] == min(distances)


def test_audiences_apart_and_averaged(scored: tuple[run.Scores, Path]):
    scores, _ = scored
    for metric in ("FAD", "KAD", "SST", "ASOA"):
        apart = [value(scores, metric, "deaf", a.value).estimate.value for a in Audience]
        assert value(scores, metric, "deaf").estimate.value == pytest.approx(np.mean(apart))


def test_comparisons_are_corrected_and_said_in_words(scored: tuple[run.Scores, Path]):
    scores, _ = scored
    words = [str(c) for c in scores.comparisons]
    assert sorted(c.metric for c in scores.comparisons) == ["ASOA", "FAD", "SST"]
    assert all(c.corrected >= c.p and c.prompts == 2 * SONGS for c in scores.comparisons)
    assert any(w.startswith("SST (chinmu): faithful is better than deaf on 24 shared prompts") for w in words)
    same = run.Comparison("FAD", "corpus", "a", "b", -1.0, 0.2, 0.4, 9)
    assert str(same).startswith("FAD (corpus): no significant difference between a and b on 9 shared")
    assert "a is better than b" in str(run.Comparison("FAD", "corpus", "a", "b", -1.0, 0.01, 0.02, 9))
    assert "b is better than a" in str(run.Comparison("SST", "corpus", "a", "b", -1.0, 0.01, 0.02, 9))
    assert all(c.least < 0.05 for c in scores.comparisons)
    few = run.Comparison("SST", "corpus", "a", "b", -1.0, 0.125, 0.125, 4, 0.125)
    assert str(few).startswith(
        "SST (corpus): too few prompts to tell a from b on 4 shared prompts (p = 0.125"
    )


def test_files_hold_what_was_measured(scored: tuple[run.Scores, Path]):
    scores, out = scored
    kept = json.loads((out / "scores.json").read_text())
    assert len(kept["rows"]) == len(scores.rows)
    with (out / "scores.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert rows[0]["metric"] == "FAD" and len(rows) == len(scores.rows)
    song = kept["songs"]["faithful"]["song0-amateur-s1"]
    assert set(song) == {"FAD (chinmu)", "SST (chinmu)", "ASOA (chinmu)"}
    assert "NaN" not in json.dumps(kept["rows"])  # what isn't finite is null


def test_the_page_stands_alone(scored: tuple[run.Scores, Path]):
    _, out = scored
    page = (out / "report.html").read_text(encoding="utf-8")
    assert page.count("<audio") == 4 and page.count("data:audio/ogg;base64,T2dn") == 4
    assert not re.search(r"(src|href)=['\"](?!data:)", page)  # nothing outside is needed
    assert "约120赫兹" in page and page.count("<svg") >= 4
    assert "<h3>adherence" in page and "0.500" in page and "0.250 … 0.750" in page
    assert "no weights or inputs" in page  # the paper's encoders aren't here
    assert "Read this first" in page


def test_words_in_a_page_are_escaped():
    page = report.page(
        {
            "rows": [],
            "comparisons": [],
            "conventions": {"<b>": "x"},
            "warnings": ["<script>alert(1)</script>"],
            "songs": {},
            "files": {},
            "prompts": {},
            "details": {},
        }
    )
    assert "<script>" not in page and "&lt;script&gt;" in page


# ---- what is missing -----------------------------------------------------------------------


def test_without_prompts_and_references_the_rest_is_said(folder: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(embeddings, "load", lambda *_: Pitch())
    settings = run.Settings(
        songs=str(folder / "systems/faithful"), out="", encoders=["chinmu"], cache=str(folder / "cache")
    )
    scores = run.measure(settings)
    assert not scores.rows and list(scores.files) == ["faithful"]
    assert any("no prompts: SST" in w for w in scores.warnings)
    assert any("no references: FAD" in w for w in scores.warnings)


def test_wrong_inputs_are_named(folder: Path, tmp_path: Path):
    with pytest.raises(RequestError, match="holds no audio, and none of its folders"):
        run.systems_of(tmp_path)
    (tmp_path / "floor").mkdir()
    write_audio(tmp_path / "floor/a.wav", tone(200, 0))
    with pytest.raises(RequestError, match="can't be called 'floor'"):
        run.systems_of(tmp_path)
    with pytest.raises(RequestError, match="mudit or none"):
        run.measure(run.Settings(songs=str(folder / "systems"), out="", protocol="musicgen"))
    with pytest.raises(RequestError, match=r"drawn by python -m eval\.protocol"):
        run.measure(run.Settings(songs=str(folder / "systems"), out="", protocol="mudit"))


@pytest.fixture
def few(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> run.Settings:
    """A system of three songs, of which one is no audio, and the references with one that is none."""
    monkeypatch.setattr(embeddings, "load", lambda *_: Pitch())
    shutil.copytree(folder / "references", tmp_path / "references")
    (tmp_path / "references/torn.wav").write_bytes(b"RIFF no music")
    for number in range(2):
        write_audio(tmp_path / f"songs/song{number}-amateur.wav", tone(200 + number, number))
    (tmp_path / "songs/song2-amateur.wav").write_bytes(b"RIFF no sound")
    return run.Settings(
        songs=str(tmp_path / "songs"), references=str(tmp_path / "references"), out=str(tmp_path / "out"),
        prompts=str(folder / "prompts.jsonl"), encoders=["chinmu"], cache=str(tmp_path / "cache"),
        allow_missing=True,
    )  # fmt: skip


def test_files_that_are_left_out_are_named_and_not_shown(few: run.Settings):
    scores = run.measure(few)
    run.write(scores, Path(few.out), 4)
    kept = json.loads((Path(few.out) / "scores.json").read_text(encoding="utf-8"))
    assert [Path(f).stem for f in kept["files"]["songs"]] == ["song0-amateur", "song1-amateur"]
    for words in ("song2-amateur.wav of songs is left out", "torn.wav of the references is left out"):
        assert sum(words in w for w in kept["warnings"]) == 1
    page = (Path(few.out) / "report.html").read_text(encoding="utf-8")
    assert page.count("<audio") == 2 and "song2-amateur.wav of songs is left out" in page


def test_what_is_left_out_is_said_once(few: run.Settings, caplog: pytest.LogCaptureFixture):
    run.measure(replace(few, encoders=["chinmu", "chinmu"]))
    for name in ("song2-amateur.wav", "torn.wav"):
        assert sum(name in r.getMessage() for r in caplog.records) == 1


def test_what_is_not_read_not_heard_or_not_answered_is_said(few: run.Settings, tmp_path: Path):
    songs = Path(few.songs)
    (songs / "song3-amateur.m4a").write_bytes(b"sound of another format")
    (songs / "lrc").mkdir()
    (songs / "lrc/song0-amateur.lrc").write_text("[00:01.00]words", encoding="utf-8")
    (songs / "old").mkdir()
    write_audio(songs / "old/song0-amateur.wav", tone(200, 0))
    write_audio(songs / "song4-amateur.wav", Audio(np.zeros((1, RATE), np.float32), RATE))
    write_audio(songs / "song5-amateur.wav", Audio(tone(300, 5).samples[:, :200], RATE))
    scores = run.measure(few)
    run.write(scores, Path(few.out), 0)
    page = (Path(few.out) / "report.html").read_text(encoding="utf-8")
    for words in (
        f"not read in {songs}: song3-amateur.m4a, old/ (",
        "1 of 5 songs of songs are silent, and count all the same: song4-amateur.wav",
        "1 of 5 songs of songs are shorter than 1 s, and count all the same: song5-amateur.wav",
        f"{2 * SONGS - 5} of {2 * SONGS} prompts have no song of songs, whose figures are of the others: ",
    ):
        assert sum(words in w for w in scores.warnings) == 1, words
        assert words in page


def test_a_system_of_another_format_is_said(few: run.Settings, tmp_path: Path):
    home = tmp_path / "systems"
    shutil.copytree(few.songs, home / "good")
    (home / "other").mkdir()
    (home / "other/song0-amateur.m4a").write_bytes(b"sound of another format")
    scores = run.measure(replace(few, songs=str(home)))
    assert any(w.startswith(f"not read in {home}: other/ (") for w in scores.warnings)


def test_flaws_of_songs_stand_among_the_warnings(few: run.Settings, tmp_path: Path):
    home, real = tmp_path / "systems", Path(few.references or "")
    shutil.copytree(few.songs, home / "good")
    (home / "other").mkdir()
    shutil.copy(real / "song0.wav", home / "other/song0-amateur.wav")
    shutil.copy(real / "song0.wav", home / "other/song0-amateur-s2.wav")
    write_audio(home / "other/song1-amateur.wav", Audio(tone(200, 0).samples[:, ::2], RATE // 2))
    write_audio(home / "other/song30-amateur.wav", tone(200, 0))
    (real / "song1.wav").unlink()
    scores = run.measure(replace(few, songs=str(home)))
    for words in (
        "the systems have unequal numbers of songs (good 2, other 4)",
        "1 of 4 songs of other have a lower sampling rate than the 8000 Hz that chinmu hears",
        "1 of 4 songs of other are copies of others, and count as often: song0-amateur = song0-amateur-s2",
        "2 of 4 songs of other are references themselves",
        "1 of 4 songs of other answer no prompt: song30-amateur",
        "1 of 3 songs of other have no real song of their own among the references, and no ASOA: song1-am",
    ):
        assert sum(words in w for w in scores.warnings) == 1, words


def test_a_macs_hidden_files_are_no_songs(few: run.Settings, tmp_path: Path):
    home = tmp_path / "systems"
    shutil.copytree(few.songs, home / "good")
    for hidden in (
        home / "._good.wav",
        home / "__MACOSX/._song0-amateur.wav",
        home / "good/._song0-amateur.wav",
    ):
        hidden.parent.mkdir(exist_ok=True)
        hidden.write_bytes(b"Mac OS X")
    assert {name: len(files) for name, files in run.systems_of(home).items()} == {"good": 3}
    assert embeddings.unread(home, ["good"]) is None


def test_a_folder_that_takes_no_scores_is_told_before_anything_is_heard(
    few: run.Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    (tmp_path / "file").write_text("")
    monkeypatch.setattr(run, "measure", lambda _: pytest.fail("songs are heard"))
    monkeypatch.setattr("sys.argv", ["run", "--songs", few.songs, "--out", str(tmp_path / "file")])
    assert command(run.main)() == 2
    assert f"scores can't be written to {tmp_path / 'file'}" in capsys.readouterr().err


def test_references_that_arent_there_are_named(few: run.Settings):
    with pytest.raises(RequestError, match="references are a folder of audio or a manifest, but there is no"):
        run.measure(replace(few, references="nowhere"))


def test_a_system_without_any_audio_is_left_out_and_named(few: run.Settings, tmp_path: Path):
    home = tmp_path / "systems"
    shutil.copytree(few.songs, home / "good")
    (home / "torn").mkdir()
    (home / "torn/song0-amateur.wav").write_bytes(b"RIFF nothing")
    scores = run.measure(replace(few, songs=str(home)))
    assert set(scores.files) == {"good"}
    assert "the system torn is left out: none of its 1 files is audio" in scores.warnings
    (home / "good").rename(tmp_path / "elsewhere")
    with pytest.raises(RequestError, match="none of the songs can be heard"):
        run.measure(replace(few, songs=str(home)))


class OneWindow(Pitch):
    """Hears a song as one window."""

    def embed(self, audio: Audio) -> np.ndarray:
        return self._vector(embeddings.mono(audio, RATE))[None]


def test_one_short_song_is_no_distance_but_the_rest_is_scored(
    few: run.Settings, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(embeddings, "load", lambda *_: OneWindow())
    for number in (1, 2):
        (Path(few.songs) / f"song{number}-amateur.wav").unlink()
    scores = run.measure(few)
    run.write(scores, Path(few.out), 1)
    assert any(
        "FAD and KAD (chinmu) of songs are left out: its songs (1, of 1.0 s and 1 windows together)" in w
        for w in scores.warnings
    )
    assert value(scores, "SST", "songs").estimate.count == 1
    assert not [r for r in scores.rows if (r.metric, r.system) == ("FAD", "songs")]
    assert value(scores, "FAD", "floor").estimate.value > 0
    text = (Path(few.out) / "scores.json").read_text(encoding="utf-8")
    assert "NaN" not in text  # the one window has no distance of its own
    row = next(r for r in json.loads(text)["rows"] if (r["metric"], r["system"]) == ("SST", "songs"))
    assert row["songs"] == 1 and row["low"] is None and row["high"] is None
    assert json.loads(text)["songs"]["songs"]["song0-amateur"]["FAD (chinmu)"] is None
    assert ">nan<" not in (Path(few.out) / "report.html").read_text(encoding="utf-8")


def test_one_window_of_references_is_no_distance(few: run.Settings, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(embeddings, "load", lambda *_: OneWindow())
    for file in Path(few.references or "").glob("song*.wav"):
        if file.stem != "song0":
            file.unlink()
    scores = run.measure(few)
    assert any("the references are 1 windows" in w for w in scores.warnings)
    assert {r.metric for r in scores.rows} == {"SST", "ASOA"}


def test_the_prompts_of_a_song_are_swapped_together(
    scored: tuple[run.Scores, Path], folder: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(embeddings, "load", lambda *_: Pitch())
    found = {}
    monkeypatch.setattr(
        run, "swaps", lambda difference, count, seed: found.update({count: difference}) or 0.5
    )
    systems, asked = run.systems_of(folder / "systems"), prompts.read(folder / "prompts.jsonl")
    settings = run.Settings(songs="", out="", cache=str(folder / "cache"))
    heard = run._hear("chinmu", settings, systems, run.reference_files(folder / "references"), asked)
    (told,) = run._compare_sets(heard, "deaf", "faithful", 0)
    assert list(found) == [SONGS] and told.prompts == 2 * SONGS
    assert found[SONGS](np.ones(SONGS, dtype=bool)) == pytest.approx(-told.difference)


# ---- what other commands found -------------------------------------------------------------


def estimate(value: float, count: int = 9) -> dict[str, float | int]:
    return {"value": value, "low": value - 0.1, "high": value + 0.1, "count": count}


def test_what_other_commands_found_is_shown(few: run.Settings, tmp_path: Path):
    wishes = {
        "genre": {"judged": estimate(0.61), "judge": estimate(0.72), "corrected": estimate(0.83)},
        "duration": {"judged": estimate(0.94), "judge": estimate(1.0, 0), "corrected": None},
    }
    (tmp_path / "truth/songs").mkdir(parents=True)
    (tmp_path / "truth/songs/requests.json").write_text(json.dumps(wishes))
    (tmp_path / "truth/lyrics.json").write_text(json.dumps({"syllables_heard": estimate(0.31)}))
    (tmp_path / "songs/adherence.json").write_text(json.dumps({"key": estimate(0.52), "beats": None}))
    scores = run.measure(replace(few, details=str(tmp_path / "truth")))
    run.write(scores, Path(few.out), 0)
    kept = json.loads((Path(few.out) / "scores.json").read_text(encoding="utf-8"))["details"]["songs"]
    assert set(kept) == {"adherence", "lyrics", "requests"} and kept["requests"] == wishes
    page = (Path(few.out) / "report.html").read_text(encoding="utf-8")
    for words in ("corrected", "0.610 (0.510 … 0.710)", "0.720 (", "0.830 (", "exact", "0.310", "0.520"):
        assert words in page
    with pytest.raises(RequestError, match="there is no folder nowhere for --details"):
        run.measure(replace(few, details="nowhere"))


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (b'{"key": {', "can't be read as JSON"),
        (b"\xff\xfe{}", "can't be read as JSON"),
        (b"[1, 2]", "holds no figures by name"),
        (b'{"key": [1]}', "'key' is no figure"),
        (b'{"key": {"value": "high"}}', "'key' is no figure"),
        (b'{"key": {"judged": 3}}', "'key' is no figure"),
    ],
)
def test_a_damaged_file_of_figures_is_named(few: run.Settings, tmp_path: Path, damage: bytes, message: str):
    (tmp_path / "songs/adherence.json").write_bytes(damage)
    with pytest.raises(RequestError, match=rf"adherence\.json.*{message}"):
        run.measure(few)


# ---- prompts -------------------------------------------------------------------------------


def test_prompts_from_every_format(tmp_path: Path):
    rows = [
        {"id": "a", "prompt": "安静", "audience": "amateur", "reference": "real/x.flac"},
        {"id": "b", "description": "吵"},
    ]
    (tmp_path / "p.jsonl").write_text("\n".join(json.dumps(r) for r in rows))
    (tmp_path / "p.tsv").write_text("id\tprompt\taudience\treference\na\t安静\tamateur\tx\nb\t吵\t\t\n")
    (tmp_path / "p.csv").write_text("id,prompt,audience,reference\na,安静,amateur,x\nb,吵,,\n")
    wanted = {"a": Prompt("a", "安静", "amateur", "x"), "b": Prompt("b", "吵")}
    assert all(prompts.read(tmp_path / f"p.{suffix}") == wanted for suffix in ("jsonl", "tsv", "csv"))
    assert prompts.answered(["a-s3", "b", "c"], wanted) == {"a-s3": wanted["a"], "b": wanted["b"]}
    assert Prompt("song-professional", "x").reference_in({"song"}) == "song"
    assert Prompt("song-professional", "x").song == Prompt("song-amateur", "y").song


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({"id": "a"}, "an id and a description"),
        ({"id": "a", "prompt": "x", "audience": "expert"}, "professional, amateur, but got 'expert'"),
        ({"id": "a", "prompt": "x", "audience": ["amateur"]}, r"audience is a word .* got \['amateur'\]"),
        ({"id": ["a"], "prompt": "x"}, r"id is a word or a number, but got \['a'\]"),
        ({"id": True, "prompt": "x"}, "id is a word or a number, but got True"),
        ({"id": " ", "prompt": "x"}, "an id and a description"),
        ({"id": "a", "prompt": "x", "english": {"a": 1}}, "english is a word"),
        ({"id": "a", "prompt": ["x"]}, "an id and a description"),
        (["a"], "an object is needed"),
    ],
)
def test_wrong_prompts_are_named(tmp_path: Path, row: object, message: str):
    (tmp_path / "p.jsonl").write_text("# a remark\n" + json.dumps(row))
    with pytest.raises(ManifestError, match=rf"p\.jsonl, line 2: .*{message}"):
        prompts.read(tmp_path / "p.jsonl")


@pytest.mark.parametrize("suffix", ["", ".flac", ".MP3"])
def test_a_reference_keeps_the_dots_of_its_name(tmp_path: Path, suffix: str):
    (tmp_path / "p.csv").write_text(f"id,prompt,reference\na,x,blues/blues.00001{suffix}\n")
    assert prompts.read(tmp_path / "p.csv")["a"].reference_in({"blues.00001"}) == "blues.00001"


def test_an_id_may_be_a_number(tmp_path: Path):
    (tmp_path / "p.jsonl").write_text(json.dumps({"id": 0, "prompt": "安静"}), encoding="utf-8")
    assert prompts.read(tmp_path / "p.jsonl") == {"0": Prompt("0", "安静")}


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ("id,prompt\na,安静\nb,轻快,明亮,x\n", "line 3: 4 cells for 2 heads"),
        ("id,prompt\na," + "长" * 200_000, "line 2: this is no row of a table: field larger"),
        ("id,prompt\na,x\na,y\n", "line 3: the id 'a' is used twice"),
        ("id,prompt,id\na,x,b\n", "line 1: two columns are called 'id'"),
    ],
)
def test_wrong_tables_are_named(tmp_path: Path, table: str, message: str):
    (tmp_path / "p.csv").write_text(table, encoding="utf-8")
    with pytest.raises(ManifestError, match=rf"p\.csv, {message}"):
        prompts.read(tmp_path / "p.csv")


@pytest.mark.parametrize("encoding", ["gbk", "gb18030", "utf-8", "utf-8-sig"])
def test_prompts_in_every_encoding_of_chinese(
    tmp_path: Path, encoding: str, caplog: pytest.LogCaptureFixture
):
    (tmp_path / "p.csv").write_text("id,prompt\na,一首安静的钢琴曲\n", encoding=encoding)
    (tmp_path / "p.jsonl").write_text('{"id": "a", "prompt": "一首安静的钢琴曲"}', encoding=encoding)
    for suffix in ("csv", "jsonl"):
        assert prompts.read(tmp_path / f"p.{suffix}") == {"a": Prompt("a", "一首安静的钢琴曲")}
    assert ("read as GB18030" in caplog.text) == encoding.startswith("gb")


@pytest.mark.parametrize("kind", ["utf-16", "big5", "torn"])
def test_prompts_that_are_no_text_are_named(tmp_path: Path, kind: str):
    text = "id,prompt\na,憂鬱的藍調，女聲，輕快\n"
    sound = text.encode("utf-8" if kind == "torn" else kind)
    (tmp_path / "p.csv").write_bytes(sound[:30] + sound[31:] if kind == "torn" else sound)
    with pytest.raises(ManifestError, match=r"p\.csv, line \d: this is neither UTF-8 nor GB18030"):
        prompts.read(tmp_path / "p.csv")


# ---- similarity ----------------------------------------------------------------------------


def test_the_null_leaves_out_the_own_song_and_the_other_audience():
    asked = [Prompt(f"{n}-{a}", "x", a.value, str(n)) for n in range(3) for a in Audience]
    cosines = np.arange(36.0).reshape(6, 6)
    found = similarity._similarity(cosines, [p.id for p in asked], asked)
    assert found.nulls[0] == np.mean([cosines[0, 2], cosines[0, 4]])
    assert found.values[3] == cosines[3, 3]


# ---- protocol ------------------------------------------------------------------------------


def record(number: int, told: int = 12) -> SongRecord:
    said = tuple(
        Description(f"第{number}首的第{i}句话，说得很长很长", a, "情绪", "sentence")
        for a in Audience
        for i in range(told)
    )
    return SongRecord(
        f"s{number}", "test", "CC0-1.0", "test", 10.0, audio=f"s{number}.wav", descriptions=said
    )


def test_the_draw_of_the_paper():
    records = [record(n) for n in range(1060)]
    drawn = protocol.draw(records)
    assert len(drawn.prompts) == 100 and len(drawn.references) == 1000
    for audience in Audience:
        mine = [p for p in drawn.prompts if p.audience == audience]
        assert len(mine) == 50 and all(0 < len(p.text) <= 120 for p in mine)
        assert all(f"第{p.song[1:]}首" in p.text for p in mine)
    assert not {p.song for p in drawn.prompts} & set(drawn.references)
    assert protocol.shortfalls(drawn) == [] and protocol.draw(records) == drawn
    assert protocol.draw(records, seed=1) != drawn
    with pytest.raises(ConfigError, match="songs is 1 or more, but got -1"):
        protocol.Settings("manifest.jsonl", "out", songs=-1)
    few = protocol.draw(records[:20])
    assert protocol.shortfalls(few) == [
        "20 professional prompts where the paper has 50",
        "20 amateur prompts where the paper has 50",
        "0 reference songs where the paper has 1000",
    ]
    with pytest.raises(ManifestError, match="both audiences"):
        protocol.draw([record(0, told=0)])


def test_pieces_lose_nothing_and_stay_short():
    text = "甲" * 50 + "，" + "乙" * 300 + "。" + "丙丁，戊"
    found = protocol.pieces(text, 120)
    assert all(len(p) <= 120 for p in found)
    assert "".join(found).replace("，", "").replace("。", "") == text.replace("，", "").replace("。", "")


def test_the_protocol_keeps_the_prompts_songs_out_of_the_references(folder: Path, tmp_path: Path):
    records = [record(n) for n in range(SONGS)]
    manifest.write(tmp_path / "manifest.jsonl", records)
    for number in range(SONGS):
        write_audio(tmp_path / f"s{number}.wav", tone(100 + 40 * number, number))
    files = run.reference_files(tmp_path / "manifest.jsonl")
    asked = {f"s{n}-amateur": Prompt(f"s{n}-amateur", "x", "amateur") for n in range(3)}
    real = embeddings.embed_files(Pitch(), files, tmp_path / "cache")
    settings = run.Settings(songs="", out="", protocol="mudit")
    pool = run._pool(real, asked, settings)
    assert len(pool) == SONGS - 3
    everything = run._pool(real, asked, run.Settings(songs="", out=""))
    assert len(everything) == SONGS
    assert fad.fitted(pool).rows == 2 * (SONGS - 3)


def test_the_difference_that_is_tested_is_the_tables(scored: tuple[run.Scores, Path]) -> None:
    scores, _ = scored
    both = {
        (r.encoder, r.system): r.estimate.value
        for r in scores.rows
        if (r.metric, r.audience) == ("FAD", "both")
    }
    tested = [c for c in scores.comparisons if c.metric == "FAD"]
    assert tested
    for c in tested:
        expected = both[c.encoder, c.first] - both[c.encoder, c.second]
        assert c.difference == pytest.approx(expected, rel=1e-6, abs=1e-9)
