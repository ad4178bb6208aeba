"""The web page: description, editable words and score, generate, player.

    baihua app --port 7860        # or: python -m app.ui

The page runs on this machine alone and fetches nothing from the network. Requests wait in one
queue, because one song fills the cores.
"""

import tempfile
import threading
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import gradio as gr

from app.folder import DEMO, check
from app.request import (
    DURATION,
    GUIDANCE,
    LONGEST,
    LONGEST_DESCRIPTION,
    SCORE_GUIDANCE,
    SHORTEST,
    STEPS,
    Request,
    title_of,
)
from app.telling import overheard
from common.abc import from_abc, to_abc
from common.errors import SongError
from common.lyrics import Lyrics
from common.pinyin import annotate
from common.rhyme import GROUPS
from corpus.words import THEMES

if TYPE_CHECKING:
    from app.pipeline import SongPipeline

EXAMPLES = (
    "一首下雨天想家的慢歌，女声，钢琴",
    "毕业前夕和朋友在操场唱的民谣，男声，木吉他，有点伤感",
    "适合跑步的电子舞曲，快一点，越听越兴奋，不要人声",
    "写给妈妈的温柔摇篮曲，童声，八音盒的感觉",
    "C大调，120 BPM，流行摇滚，主歌压抑、副歌爆发，失真电吉他",
)
AUDIENCES = (("普通人 · Everyday words", "amateur"), ("专业 · Musical terms", "professional"))
QUEUE = "models"  # one queue for everything that uses the models
_HEAD = "# 白话 · Baihua\n用大白话描述一首歌，就把它写出来、唱出来。 *Say it plainly, hear it sung.*"
_HINT = "留空则自动写 · left empty, it is written for you"
_STRUCTURE = "<verse>\n7\n7R\n7\n7R\n\n<chorus>\n5R\n5R"
_CSS = """
.gradio-container { max-width: 1180px !important; margin: 0 auto !important; }
#head h1 { font-size: 2.1rem; margin-bottom: .1rem; letter-spacing: .04em; }
#lyrics textarea { font-size: 1.02rem; line-height: 1.7; }
#score textarea, #score-out textarea { font-family: ui-monospace, monospace; font-size: .82rem; }
footer { display: none !important; }
"""


class _StoppedError(Exception):
    """The user gave up the song: no fault of anybody."""


class Page:
    """What the buttons do, apart from how they look."""

    def __init__(self, pipeline: "SongPipeline", folder: Path) -> None:
        self.pipeline = pipeline
        self.folder = folder  # where the songs of the session are written
        self.made = 0
        self._stopped = threading.Event()

    def stop(self) -> None:
        """停: give up the song that is being made, at the next step of the sampler."""
        self._stopped.set()

    def write(self, *values: Any) -> str:
        """写词: words for the description, to edit."""
        lyrics, warnings = _told(lambda: self.pipeline.write_lyrics(_request(*values, words="", score="")))
        _warn(warnings)
        return str(lyrics)

    def spell(self, words: str) -> str:
        """注音: the words with how each character is read, to correct."""
        return _told(lambda: annotate(str(Lyrics.parse(words)), every=True)) if words.strip() else words

    def compose(self, words: str, *values: Any) -> str:
        """写谱: a lead sheet for the words, to edit."""
        with overheard() as said:  # of the words, while they are read
            request = _told(lambda: _request(*values, words=words, score=""))
        score, warnings = _told(lambda: self.pipeline.write_score(request))
        _warn((*said, *warnings))
        return to_abc(score)

    def sing(
        self,
        words: str,
        sheet: str,
        *values: Any,
        progress: Callable[..., Any] = gr.Progress(),  # noqa: B008
    ) -> tuple[Any, ...]:
        """生成: (player, words, score, downloads, recipe)."""

        def show(stage: str, share: float) -> None:
            if self._stopped.is_set():
                raise _StoppedError
            progress(share, desc=stage)

        self._stopped.clear()
        with overheard() as said:
            request = _told(lambda: _request(*values, words=words, score=sheet))
        try:
            song = _told(lambda: self.pipeline.sing(request, progress=show))
        except _StoppedError:
            gr.Info("已停止：没有写入任何文件 · stopped: nothing was written")
            return tuple(gr.skip() for _ in range(5))
        self.made += 1
        files = _told(lambda: song.save(self.folder / f"baihua-{self.made:03d}-seed{request.seed}.flac"))
        _warn((*said, *song.warnings))
        lyrics = str(song.lyrics) if song.lyrics else ""
        score = to_abc(song.score) if song.score else ""
        return str(files[0]), lyrics, score, [str(path) for path in files], song.recipe


def _request(
    description: str,
    audience: str,
    duration: float,
    seed: float,
    instrumental: bool,
    steps: float,
    guidance: float,
    score_guidance: float,
    use_score: bool,
    structure: str = "",
    rhyme: str | None = "",
    theme: str | None = "",
    *,
    words: str,
    score: str,
) -> Request:
    """The request of the page's fields; a browser's numbers may come as floats or not at all.

    What is asked of words holds for those that are to be written, not for those in the boxes.
    """
    lyrics = Lyrics.parse(words) if words and words.strip() else None
    sheet = from_abc(score) if score and score.strip() else None
    asked = {"structure": structure, "rhyme": rhyme or "", "theme": theme or ""}
    if lyrics is not None or sheet is not None:
        asked = {}
    return Request(
        description=description,
        lyrics=lyrics,
        score=sheet,
        duration=duration,
        audience=audience,  # type: ignore[arg-type]  # checked by the request
        seed=_whole(seed),
        num_inference_steps=_whole(steps),
        guidance_scale=guidance,
        score_guidance_scale=score_guidance,
        instrumental=True if instrumental else None,
        use_score=use_score,
        title=title_of(words or ""),
        **asked,
    )


def _whole(value: Any) -> Any:
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _told(step: Callable[[], Any]) -> Any:
    """The result of a step; its fault becomes a message on the page."""
    try:
        return step()
    except SongError as error:
        raise gr.Error(str(error), print_exception=False) from error


def _warn(warnings: tuple[str, ...]) -> None:
    for warning in warnings:
        gr.Warning(warning)


# ---- the page ----------------------------------------------------------------------------------


def build(pipeline: "SongPipeline", folder: Path | None = None) -> gr.Blocks:
    """The page of a pipeline; songs are written to `folder` (a temporary one when None)."""
    if folder is None:
        folder = Path(tempfile.mkdtemp(prefix="baihua-"))
    page = Page(pipeline, folder)
    with gr.Blocks(title="白话 Baihua", analytics_enabled=False, delete_cache=(3600, 86400)) as blocks:
        gr.Markdown(_HEAD, elem_id="head")
        with gr.Row(equal_height=False):
            with gr.Column(scale=5):
                values = _request_fields()
                words, sheet, write, spell, compose, asked = _plan_fields()
                values += asked
            with gr.Column(scale=4):
                with gr.Row():
                    sing = gr.Button("生成 · Generate", variant="primary", size="lg", scale=3)
                    stop = gr.Button("停 · Stop", size="lg", min_width=90, scale=1)
                outputs = _result_fields()
        write.click(page.write, values, words, concurrency_id=QUEUE, concurrency_limit=1)
        spell.click(page.spell, words, words, queue=False)
        compose.click(page.compose, [words, *values], sheet, concurrency_id=QUEUE)
        sing.click(page.sing, [words, sheet, *values], outputs, concurrency_id=QUEUE, api_name="sing")
        stop.click(page.stop, queue=False)
    return blocks


def _request_fields() -> list[gr.Component]:
    """Inputs in the order of `_request`."""
    description = gr.Textbox(
        label="描述 · Description",
        lines=3,
        max_length=LONGEST_DESCRIPTION,
        placeholder=EXAMPLES[0],
        autofocus=True,
    )
    gr.Examples([[text] for text in EXAMPLES], [description], label="例子 · Examples")
    audience = gr.Radio(list(AUDIENCES), value="amateur", label="谁的话 · Whose words")
    with gr.Row():
        duration = gr.Slider(
            SHORTEST,
            LONGEST,
            DURATION,
            step=1,
            label="时长 · Seconds",
            info="以此为准，不看描述里的时长 · this counts, not a length in the description",
            scale=3,
        )
        seed = gr.Number(1, precision=0, minimum=0, label="种子 · Seed", min_width=90, scale=1)
    instrumental = gr.Checkbox(label="纯音乐 · Instrumental")
    with gr.Accordion("高级 · Advanced", open=False):
        with gr.Row():
            steps = gr.Slider(4, 100, STEPS, step=1, label="步数 · Steps")
            guidance = gr.Slider(1, 10, GUIDANCE, step=0.1, label="描述引导 · Guidance")
            scored = gr.Slider(1, 5, SCORE_GUIDANCE, step=0.1, label="乐谱引导 · Score guidance")
        use_score = gr.Checkbox(True, label="先写谱再唱 · Plan with a score before singing")
    return [description, audience, duration, seed, instrumental, steps, guidance, scored, use_score]


def _plan_fields() -> tuple[gr.Textbox, gr.Textbox, gr.Button, gr.Button, gr.Button, list[gr.Component]]:
    """(words, lead sheet, buttons for words, readings and the lead sheet, what is asked of the words)."""
    with gr.Group():
        words = gr.Textbox(label="歌词 · Lyrics", lines=8, max_lines=24, placeholder=_HINT, elem_id="lyrics")
        with gr.Row():
            write = gr.Button("写词 · Write lyrics", size="sm")
            spell = gr.Button("注音 · Readings", size="sm")
    with gr.Accordion("怎么写词 · How to write them", open=False):
        with gr.Row():
            theme = gr.Dropdown(["", *THEMES], value="", label="主题 · Theme")
            rhyme = gr.Dropdown(
                ["", *GROUPS, "AABA", "ABAB", "-A-A"],
                value="",
                label="押韵 · Rhyme",
                allow_custom_value=True,
            )
        structure = gr.Textbox(
            label="结构 · Structure",
            info="每行的字数，R 押韵 · characters of each line, R rhymes",
            placeholder=_STRUCTURE,
            lines=4,
            max_lines=16,
        )
    with gr.Accordion("乐谱 · Score (ABC)", open=False):
        sheet = gr.Textbox(show_label=False, lines=6, max_lines=20, placeholder=_HINT, elem_id="score")
        compose = gr.Button("写谱 · Write score", size="sm")
    return words, sheet, write, spell, compose, [structure, rhyme, theme]


def _result_fields() -> list[gr.Component]:
    """Outputs in the order of `Page.sing`."""
    player = gr.Audio(label="歌 · Song", type="filepath", interactive=False, buttons=["download"])
    sung = gr.Textbox(label="唱的词 · Sung words", lines=8, max_lines=24, interactive=False)
    files = gr.File(label="下载 · Downloads", file_count="multiple", interactive=False)
    with gr.Accordion("乐谱 · Score (ABC)", open=False):
        score = gr.Textbox(show_label=False, lines=8, max_lines=24, interactive=False, elem_id="score-out")
    with gr.Accordion("配方 · Recipe", open=False):
        recipe = gr.JSON(show_label=False)
    return [player, sung, score, files, recipe]


def launch(pipeline: "SongPipeline", port: int = 7860, **options: Any) -> None:
    """Serve the page on this machine until it is stopped."""
    # Named fonts only: gradio's own themes ask Google for theirs.
    fonts = [
        "system-ui",
        "PingFang SC",
        "Microsoft YaHei",
        "Noto Sans CJK SC",
        "WenQuanYi Micro Hei",
        "sans-serif",
    ]
    theme = gr.themes.Soft(primary_hue="indigo", font=fonts, font_mono=["ui-monospace", "monospace"])
    with tempfile.TemporaryDirectory(prefix="baihua-") as folder:
        page = build(pipeline, Path(folder)).queue(default_concurrency_limit=1, max_size=32)
        page.launch(
            server_name="127.0.0.1",
            server_port=port,
            theme=theme,
            css=_CSS,
            allowed_paths=[folder],
            **options,
        )


def main() -> None:
    from app.pipeline import SongPipeline

    launch(SongPipeline.from_pretrained(check(DEMO)))


if __name__ == "__main__":
    main()
