"""The page: it builds, its buttons do what they say, faults become one sentence."""

import asyncio
from pathlib import Path

import gradio as gr
import pytest
from app_models import PROMPT, tiny_pipeline

from app.ui import EXAMPLES, Page, build
from common.abc import from_abc
from common.audio import read_audio
from common.lyrics import Lyrics
from common.rhyme import group

FIELDS = (PROMPT, "amateur", 6, 1.0, False, 1, 1.0, 1.0, True)  # in the order of the page
WORDS = "<verse>\n细雨敲着窗\n想起了家"


@pytest.fixture
def page(tmp_path: Path) -> Page:
    return Page(tiny_pipeline(), tmp_path)


def told(caught: pytest.ExceptionInfo[gr.Error]) -> str:
    return str(caught.value.message)


def test_the_page_builds_and_names_its_inputs(tmp_path: Path) -> None:
    async def made() -> gr.Blocks:  # in a running loop, gradio opens none of its own and leaves it
        return build(tiny_pipeline(), tmp_path)

    blocks = asyncio.run(made())
    labels = [getattr(block, "label", None) for block in blocks.blocks.values()]
    for label in ("描述 · Description", "歌词 · Lyrics", "时长 · Seconds", "种子 · Seed", "歌 · Song"):
        assert label in labels
    assert len(blocks.fns) >= 3 and all(len(text) <= 2000 for text in EXAMPLES)


def test_write_then_compose_then_sing(page: Page) -> None:
    words = page.write(*FIELDS)
    assert Lyrics.parse(words).lines
    sheet = page.compose(WORDS, *FIELDS)
    assert from_abc(sheet).lyrics().lines == Lyrics.parse(WORDS).lines
    seen: list[str] = []
    path, sung, score, files, recipe = page.sing(
        WORDS, sheet, *FIELDS, progress=lambda share, desc: seen.append(desc)
    )
    assert read_audio(path).duration == 6.0
    assert Lyrics.parse(sung).lines == Lyrics.parse(WORDS).lines
    assert from_abc(score) == from_abc(sheet)
    assert {Path(f).suffix for f in files} == {".flac", ".lrc", ".abc"}
    assert recipe["request"]["own_score"] is True and "singing" in seen


def test_the_form_of_the_words_is_asked_until_there_are_some(page: Page) -> None:
    asked = ("<verse>\n5R\n5R", "江阳", "月亮")
    words = page.write(*FIELDS, *asked)
    assert [len(line) for line in Lyrics.parse(words).lines] == [5, 5]
    assert {group(line) for line in Lyrics.parse(words).lines} == {"江阳"}
    assert from_abc(page.compose(words, *FIELDS, *asked)).lyrics().lines == Lyrics.parse(words).lines
    sheet = page.compose("", *FIELDS, *asked)
    sung = page.sing("", sheet, *FIELDS, *asked, progress=lambda *a, **k: None)[1]
    assert Lyrics.parse(sung).lines == from_abc(sheet).lyrics().lines, "the sheet has its words already"
    with pytest.raises(gr.Error) as caught:
        page.write(*FIELDS, "<verse>\n家", None, None)
    assert "a line of a structure" in told(caught)


def test_readings_are_shown_to_be_corrected(page: Page) -> None:
    assert page.spell("<verse>\n还{huan2}有我") == "<verse>\n还{huan2}有{you3}我{wo3}\n"
    assert page.spell(" ") == " "
    with pytest.raises(gr.Error):
        page.spell("<verze>\n家")


def test_what_is_left_out_of_words_is_said_on_the_page(page: Page, monkeypatch: pytest.MonkeyPatch) -> None:
    said: list[str] = []
    monkeypatch.setattr(gr, "Warning", said.append)
    sheet = page.compose("《雨》\n细雨敲着窗\n想起了家", *FIELDS)
    assert from_abc(sheet).lyrics().lines == Lyrics.parse(WORDS).lines
    assert "line 1: '《雨》' is a title and isn't sung" in said


def test_songs_of_a_session_dont_overwrite_each_other(page: Page) -> None:
    first = page.sing(WORDS, "", *FIELDS, progress=lambda *a, **k: None)[0]
    second = page.sing(WORDS, "", *FIELDS, progress=lambda *a, **k: None)[0]
    assert first != second and Path(first).read_bytes() == Path(second).read_bytes()


def test_stopping_gives_up_the_song_and_the_next_one_is_made(page: Page, tmp_path: Path) -> None:
    stopped = page.sing(WORDS, "", *FIELDS, progress=lambda share, desc: page.stop())
    assert stopped == tuple(gr.skip() for _ in range(5)) and not list(tmp_path.iterdir())
    assert Path(page.sing(WORDS, "", *FIELDS, progress=lambda *a, **k: None)[0]).is_file()


@pytest.mark.parametrize(
    ("words", "sheet", "change", "reason"),
    [
        ("", "", {0: ""}, "description is empty"),
        ("", "", {0: None}, "description is empty"),
        ("<verze>\n家", "", {}, "unknown section 'verze'"),
        ("<verse>\n" + "啦" * 50, "", {}, "50 syllables can't be sung in 6 s"),
        ("", "no tune", {}, ""),
        (WORDS, "", {4: True}, "an instrumental has no words"),
        ("", "", {3: None}, "seed is a whole number"),
        ("", "", {2: None, 3: 1.5}, "seed is a whole number"),
    ],
)
def test_faults_become_messages(page: Page, words: str, sheet: str, change: dict, reason: str) -> None:
    fields = [change.get(i, value) for i, value in enumerate(FIELDS)]
    with pytest.raises(gr.Error) as caught:
        page.sing(words, sheet, *fields, progress=lambda *a, **k: None)
    assert reason in told(caught) and "\n" not in told(caught)
