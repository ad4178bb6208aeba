"""The listening test: its design, its page in a real browser, and what is made of the answers."""

import io
import json
import shutil
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import soundfile
from hypothesis import given, settings
from hypothesis import strategies as st

from common.audio import Audio, write_audio
from common.description import Audience
from common.errors import ConfigError, RequestError
from common.seeds import generator
from common.statistics import crossed_bootstrap
from eval import listening
from eval.agreement import krippendorff_alpha
from eval.listening import (
    QUESTIONS,
    AnalyseConfig,
    Clip,
    MakeConfig,
    analyse,
    faults,
    make,
    sheets,
    with_traps,
)

SYSTEMS = {"good": 4.3, "fair": 3.0}
PROMPTS = 6


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two systems that answered six prompts, two real songs, and the test made of them."""
    root = tmp_path_factory.mktemp("listening")
    rows = []
    for number in range(PROMPTS):
        audience = list(Audience)[number % 2]
        rows.append({"id": f"p{number}", "description": f"第{number}首</script>", "audience": audience.value})
    (root / "prompts.jsonl").write_text("\n".join(json.dumps(r, ensure_ascii=False) for r in rows))
    names = [f"systems/{s}/p{n}" for s in SYSTEMS for n in range(PROMPTS)] + ["real/a", "real/b"]
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        noise = generator(0, name).standard_normal((1, 16000 * 2)).astype(np.float32)
        write_audio(root / f"{name}.wav", Audio(0.1 * noise / np.abs(noise).max(), 16000))
    config = MakeConfig(
        songs=str(root / "systems"), prompts=str(root / "prompts.jsonl"), out=str(root / "test"),
        real=str(root / "real"), raters=4, each=4, seconds=2.0, least=0.5,
    )  # fmt: skip
    make(config)
    return root


def key_of(folder: Path) -> dict:
    return json.loads((folder / "test/key.json").read_text())


# ---- design --------------------------------------------------------------------------------


@settings(max_examples=15, deadline=None)
@given(st.integers(2, 4), st.integers(4, 9), st.integers(2, 12), st.integers(0, 3))
def test_every_clip_comes_equally_often(systems: int, asked: int, raters: int, seed: int):
    clips = {
        f"{s}{p}": Clip("f", f"s{s}", f"p{p}", "x", list(Audience)[p % 2].value)
        for s in range(systems) for p in range(asked)
    }  # fmt: skip
    each = min(asked, 5)
    found = sheets(clips, raters, each, seed, "amateur")
    counts = Counter(code for sheet in found for code in sheet)
    times = [counts[code] for code in clips]
    assert max(times) - min(times) <= 1 and sum(times) == raters * each
    assert all(len(set(sheet)) == each for sheet in found)
    assert found == sheets(clips, raters, each, seed, "amateur")


def test_sheets_mix_systems_and_spare_prompts(folder: Path):
    clips = {c: Clip(**v) for c, v in key_of(folder)["clips"].items()}
    for sheet in sheets(clips, 3, 4, 0, "amateur")[:1]:
        assert len({clips[c].prompt for c in sheet}) == 4
        assert sorted(Counter(clips[c].system for c in sheet).values()) == [2, 2]
        assert sorted(Counter(clips[c].audience for c in sheet).values()) == [2, 2]
    with pytest.raises(RequestError, match="a sheet of 13 clips"):
        sheets(clips, 3, 13, 0, "amateur")


@settings(max_examples=30, deadline=None)
@given(st.integers(4, 12), st.integers(0, 9))
def test_traps_are_in_every_sheet(length: int, seed: int):
    codes = [f"c{i}" for i in range(length)]
    sheet = with_traps(codes, ["real"], np.random.default_rng(seed))
    assert len(sheet.codes) == length + 2 and sheet.codes.count("real") == 1
    assert sheet.repeated is not None
    first, second = sheet.repeated
    assert sheet.codes[first] == sheet.codes[second] != "real" and second - first >= 2
    assert sorted(set(sheet.codes) - {"real"}) == sorted(codes)


def test_the_page_tells_no_system_and_needs_no_network(folder: Path):
    page = (folder / "test/page.html").read_text(encoding="utf-8")
    assert not any(f'"{system}"' in page or f"/{system}/" in page for system in SYSTEMS)
    assert "http" not in page.replace("data:audio", "") and page.count("data:audio/ogg;base64,T2dn") >= 12
    assert page.count("</script>") == 2  # a prompt can't end the script
    assert set(key_of(folder)["sheets"]) == {"professional", "amateur"}


def test_clips_beside_the_page(folder: Path, tmp_path: Path):
    config = MakeConfig(
        songs=str(folder / "systems"), prompts=str(folder / "prompts.jsonl"), out=str(tmp_path), raters=1,
        each=3, embed=False,
    )  # fmt: skip
    page = make(config).read_text(encoding="utf-8")
    files = sorted(p.stem for p in (tmp_path / "clips").iterdir())
    assert files and all(f"clips/{code}.ogg" in page for code in files)


def test_clips_sound_as_the_songs_do(tmp_path: Path):
    time = np.arange(44100 * 2) / 44100
    sides = np.stack([np.sin(2 * np.pi * 500 * time), np.sin(2 * np.pi * 17500 * time)])
    write_audio(tmp_path / "song.wav", Audio((0.3 * sides).astype(np.float32), 44100))
    samples, rate = soundfile.read(io.BytesIO(listening._sound(tmp_path / "song.wav", 1.0)))
    assert (rate, samples.shape) == (44100, (44100, 2))
    assert np.std(samples, axis=0) == pytest.approx([0.3 / np.sqrt(2)] * 2, rel=0.1)
    peaks = np.abs(np.fft.rfft(samples, axis=0)).argmax(0)
    assert peaks.tolist() == [500, 17500]


def test_another_test_is_no_heir_of_the_first_ones_answers(folder: Path, tmp_path: Path):
    config = MakeConfig(
        songs=str(tmp_path / "systems"), prompts=str(folder / "prompts.jsonl"), out=str(tmp_path / "test"),
        raters=2, each=3, seconds=2.0,
    )  # fmt: skip
    shutil.copytree(folder / "systems", tmp_path / "systems")
    make(config)
    first = key_of(tmp_path)
    make(config)
    assert key_of(tmp_path) == first
    for system, other in (("good", "spare"), ("fair", "good"), ("spare", "fair")):  # each other's songs
        (tmp_path / "systems" / system).rename(tmp_path / "systems" / other)
    with pytest.raises(RequestError, match=r"key\.json is of another test"):
        make(config)
    assert key_of(tmp_path) == first


@pytest.mark.parametrize(
    ("name", "value"), [("raters", 0), ("each", -1), ("seconds", 0.5), ("least", -1.0), ("seconds", np.nan)]
)
def test_settings_out_of_range_are_named(name: str, value: float):
    with pytest.raises(ConfigError, match=f"{name} is .* or more, but got"):
        MakeConfig(songs="", prompts="", out="", **{name: value})


# ---- in a browser --------------------------------------------------------------------------


@pytest.mark.skipif(shutil.which("chromium") is None, reason="needs Debian's chromium")
def test_a_rater_goes_through_the_page(folder: Path, tmp_path: Path):
    playwright = pytest.importorskip("playwright.sync_api")
    options = ["--no-sandbox", "--disable-gpu", "--autoplay-policy=no-user-gesture-required", "--mute-audio"]
    with playwright.sync_playwright() as play:
        browser = play.chromium.launch(executable_path=shutil.which("chromium"), args=options)
        page = browser.new_page()
        faults_seen: list[str] = []
        page.on("pageerror", lambda error: faults_seen.append(str(error)))
        page.goto((folder / "test/page.html").as_uri())
        page.click("#start")
        assert "编号" in page.inner_text("#error")
        page.fill("#rater", "小明")
        page.fill("#number", "2")
        page.check("input[value=amateur]")
        page.click("#start")
        sheet = key_of(folder)["sheets"]["amateur"][1]
        page.click("#next")
        assert page.inner_text("#error").startswith("还没有回答")
        for place in range(len(sheet)):
            assert page.inner_text("#progress") == f"{place + 1} / {len(sheet)}"
            for question in QUESTIONS:
                page.check(f"input[name={question.id}][value='{1 + place % 5}']")
            if place == 0:
                page.check("input[name=vocal][value=none]")
                page.click("#next")
                assert page.inner_text("#error") == "请先听这段音乐。"
                page.evaluate("document.getElementById('player').currentTime = 1.9")  # skipping isn't hearing
                page.click("#next")
                assert page.inner_text("#progress").startswith("1 /")
                page.evaluate("document.getElementById('player').currentTime = 0")
            page.evaluate("document.getElementById('player').play()")
            page.wait_for_function("document.getElementById('player').currentTime > 1.1")
            page.click("#next")
            if place == 1:  # closed and opened again: the answers are still there
                page.reload()
                page.click("#resume")
        with page.expect_download() as download:
            page.click("#save")
        download.value.save_as(tmp_path / "answers.json")
        browser.close()
    assert not faults_seen
    answers = json.loads((tmp_path / "answers.json").read_text())
    assert [a["clip"] for a in answers["answers"]] == sheet
    assert answers["answers"][0]["scores"]["vocal"] is None
    assert answers["answers"][2]["scores"] == {q.id: 3 for q in QUESTIONS}
    assert (answers["rater"], answers["audience"], answers["number"]) == ("小明", "amateur", 2)
    assert all(a["heard"] > 0.5 for a in answers["answers"])
    reasons = faults(answers, key_of(folder), AnalyseConfig("", ""))
    assert any(r.endswith("s a clip (at least 5)") for r in reasons)  # nobody listens that fast
    first, second = key_of(folder)["repeated"]["amateur"][1]
    apart = abs(1 + first % 5 - (1 + second % 5))
    assert any("the same clip got marks" in r for r in reasons) == (apart > 1)


# ---- answers -------------------------------------------------------------------------------


def answers(
    key: dict, audience: str, number: int, *, real: float = 5, again: float = 0, pace: float = 40
) -> dict:
    """A rater who hears how good a system is, with some noise."""
    rng = generator(number, "rater", audience)
    sheet = key["sheets"][audience][number - 1]
    pair = key["repeated"][audience][number - 1]
    given = []
    for place, code in enumerate(sheet):
        clip = key["clips"][code]
        level = real if clip["system"] == "real" else SYSTEMS[clip["system"]]
        marks = {q.id: float(np.clip(round(level + rng.normal(0, 0.4)), 1, 5)) for q in QUESTIONS}
        if place == pair[1]:
            marks = {q: m + again for q, m in given[pair[0]]["scores"].items()}
        given.append({"clip": code, "place": place, "scores": marks, "heard": 9.0, "seconds": pace})
    return {
        "test": key["test"], "rater": f"r{number}", "audience": audience,
        "number": number, "sheet": number - 1,
        "answers": given,
    }  # fmt: skip


def test_marks_become_scores_and_bad_raters_are_named(folder: Path, tmp_path: Path):
    key = key_of(folder)
    for audience in Audience:
        for number in (1, 2, 3):
            row = answers(key, audience.value, number)
            (tmp_path / f"{audience}-{number}.json").write_text(json.dumps(row))
    bad = {
        "deaf": answers(key, "amateur", 4, real=2), "careless": answers(key, "professional", 4, again=-2),
        "fast": answers(key, "amateur", 4, pace=2), "other": answers(key, "amateur", 4) | {"test": "x"},
        "short": answers(key, "amateur", 4),
    }  # fmt: skip
    bad["short"]["answers"].pop()
    for name, row in bad.items():
        (tmp_path / f"{name}.json").write_text(json.dumps(row))
    found = analyse(AnalyseConfig(str(folder / "test/key.json"), str(tmp_path)))
    assert found.raters == {"professional": 3, "amateur": 3}
    reasons = {name.split("(")[1][:-6]: "; ".join(r) for name, r in found.excluded.items()}
    assert "a real song got 2" in reasons["deaf"] and "marks 2.0 apart" in reasons["careless"]
    assert "2.0 s a clip" in reasons["fast"] and "another test" in reasons["other"]
    assert "5 of 6 clips" in reasons["short"]
    mos = {(o.system, o.question, o.group): o for o in found.opinions}
    for question in QUESTIONS:
        good, fair = (mos[s, question.id, "both"].mos for s in SYSTEMS)
        assert good.value == pytest.approx(4.3, abs=0.5) and fair.value == pytest.approx(3, abs=0.5)
        assert good.low <= good.value <= good.high
    assert len(found.opinions) == 2 * 8 * 3
    genre = next(c for c in found.contrasts if c.question == "genre")
    # Six prompts can't give less than 2/64 by signed ranks, times eight by Holm: the t-test is bolder.
    assert genre.difference < 0 or genre.first == "good"
    assert genre.t_test < 0.01 < genre.wilcoxon and "too few prompts to tell fair from good" in str(genre)
    assert all(0.2 < alpha <= 1 for alpha in found.agreement.values()) and len(found.agreement) == 8


def test_what_so_few_prompts_could_not_show_is_said():
    def marks(prompts: int) -> list[listening.Rating]:
        return [
            listening.Rating(f"r{r}", "amateur", s, f"p{p}", None, "genre", 3.0 + (s == "a") + (p + r) % 2)
            for s in "ab" for p in range(prompts) for r in range(2)
        ]  # fmt: skip

    (few,), (enough,) = (listening._contrasts(marks(n)) for n in (4, 8))
    assert few.wilcoxon == few.least == 0.125
    assert str(few).startswith("genre: too few prompts to tell a from b (Wilcoxon p = 0.125")
    assert enough.wilcoxon == enough.least < 0.05 and "a is better than b" in str(enough)
    same = listening.Contrast("genre", "a", "b", 0.0, 1.0, 1.0, 8, enough.least)
    assert "no significant difference" in str(same)


def test_nobody_and_nothing_are_errors(folder: Path, tmp_path: Path):
    with pytest.raises(RequestError, match="holds no answers"):
        analyse(AnalyseConfig(str(folder / "test/key.json"), str(tmp_path)))
    (tmp_path / "a.json").write_text(json.dumps(answers(key_of(folder), "amateur", 1, real=1)))
    with pytest.raises(RequestError, match="no rater counts: a real song"):
        analyse(AnalyseConfig(str(folder / "test/key.json"), str(tmp_path)))
    (tmp_path / "a.json").write_text(json.dumps({"test": key_of(folder)["test"]}))
    with pytest.raises(RequestError, match="isn't a file of answers"):
        analyse(AnalyseConfig(str(folder / "test/key.json"), str(tmp_path)))


def changed(key: dict, **changes: object) -> dict:
    """A rater's answers with other parts; `mark` and `seconds` are of the first clip."""
    row = answers(key, "amateur", 1)
    if "mark" in changes:
        row["answers"][0]["scores"]["genre"] = changes.pop("mark")
    if "seconds" in changes:
        row["answers"][0]["seconds"] = changes.pop("seconds")
    return row | changes


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ([], "an object is needed, but got list"),
        ("answers", "an object is needed, but got str"),
        ({"mark": "5"}, "a mark is 1 to 5, but clip .* has '5' for genre"),
        ({"mark": 77}, "a mark is 1 to 5, but clip .* has 77 for genre"),
        ({"mark": float("nan")}, "a mark is 1 to 5, but clip .* has nan for genre"),
        ({"mark": True}, "has True for genre"),
        ({"seconds": "40"}, "took seconds, but got '40'"),
        ({"sheet": -1}, "the sheet is 0 to 3, but got -1"),
        ({"sheet": 4}, "the sheet is 0 to 3, but got 4"),
        ({"audience": "children"}, "the audience is one of professional, amateur"),
        ({"answers": {"K10": 5}}, "'answers' has to be list"),
        ({"answers": ["K10"]}, "an answer has a clip and scores"),
        ({"number": "1"}, "'number' has to be int, but got '1'"),
    ],
)
def test_damaged_answers_are_named(folder: Path, tmp_path: Path, row: object, message: str):
    key = key_of(folder)
    made = changed(key, **row) if isinstance(row, dict) else row
    (tmp_path / "a.json").write_text(json.dumps(made))
    with pytest.raises(RequestError, match=rf"a\.json isn't a file of answers: .*{message}"):
        analyse(AnalyseConfig(str(folder / "test/key.json"), str(tmp_path)))


def test_a_rater_counts_once(folder: Path, tmp_path: Path):
    for name in ("a", "a (1)"):
        (tmp_path / f"{name}.json").write_text(json.dumps(answers(key_of(folder), "amateur", 1)))
    with pytest.raises(
        RequestError, match=r"a\.json and .*a \(1\)\.json are answers of one rater .amateur 1 r1"
    ):
        analyse(AnalyseConfig(str(folder / "test/key.json"), str(tmp_path)))


def test_a_rater_without_marks_is_left_out_for_that(folder: Path, tmp_path: Path):
    row = answers(key_of(folder), "amateur", 1)
    for answer in row["answers"]:
        answer["scores"] = dict.fromkeys(answer["scores"])
    (tmp_path / "a.json").write_text(json.dumps(row))
    with pytest.raises(RequestError, match="no rater counts: no clip has a mark"):
        analyse(AnalyseConfig(str(folder / "test/key.json"), str(tmp_path)))


@pytest.mark.parametrize("key", ["[]", '"key"', '{"test": "x"}'])
def test_what_is_no_key_is_named(tmp_path: Path, key: str):
    (tmp_path / "key.json").write_text(key)
    with pytest.raises(RequestError, match=r"key\.json isn't the key\.json of a test"):
        analyse(AnalyseConfig(str(tmp_path / "key.json"), str(tmp_path)))


def test_commands(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    for number in (1, 2):
        (tmp_path / f"{number}.json").write_text(json.dumps(answers(key_of(folder), "amateur", number)))
    arguments = ["analyse", "--key", str(folder / "test/key.json"), "--answers", str(tmp_path)]
    assert listening.main([*arguments, "--out", str(tmp_path / "out.txt")]) == 0
    assert "2 amateur raters" in capsys.readouterr().out
    assert json.loads((tmp_path / "out.txt").read_text())["raters"]["amateur"] == 2
    assert listening.main(["analyse", "--key", "none", "--answers", str(tmp_path)]) == 2
    assert capsys.readouterr().err.startswith("error: none can't be read")
    assert listening.main([]) == 2


# ---- statistics ----------------------------------------------------------------------------


def test_alpha_against_its_published_example():
    star = np.nan
    table = np.array(
        [
            [1, 2, 3, 3, 2, 1, 4, 1, 2, star, star, star],
            [1, 2, 3, 3, 2, 2, 4, 1, 2, 5, star, 3],
            [star, 3, 3, 3, 2, 3, 4, 2, 2, 5, 1, star],
            [1, 2, 3, 3, 2, 4, 4, 1, 2, 5, 1, star],
        ]
    )
    assert krippendorff_alpha(table) == pytest.approx(0.849, abs=5e-4)  # Krippendorff 2011
    assert krippendorff_alpha(np.ones((2, 3))) == 1.0
    opposed = np.array([[1.0, 5, 1, 5], [5, 1, 5, 1]])
    assert krippendorff_alpha(opposed) < 0
    with pytest.raises(RequestError, match="two marks"):
        krippendorff_alpha(np.array([[1.0, star], [star, 2.0]]))


def test_an_interval_over_raters_and_songs_is_wider_than_over_marks():
    rng = np.random.default_rng(0)
    raters, songs = np.repeat(np.arange(8), 10), np.tile(np.arange(10), 8)
    strict, good = rng.normal(0, 1, 8), rng.normal(0, 0.2, 10)
    marks = strict[raters] + good[songs] + 0.1 * rng.standard_normal(80)
    found = crossed_bootstrap(marks, raters.tolist(), songs.tolist())
    half = (found.high - found.low) / 2
    assert half == pytest.approx(1.96 * strict.std() / np.sqrt(8), rel=0.35)
    assert found.low < found.value < found.high and found.count == 80
    with pytest.raises(RequestError):
        crossed_bootstrap([1.0], [0], [])
    assert not crossed_bootstrap([1.0, 2.0], "aa", "bb").has_interval
    assert crossed_bootstrap([1.0, 2.0], "aa", "bc").has_interval
