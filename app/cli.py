"""The `baihua` command: sing (again), write lyrics or a score, open the page, look after the installation.

    baihua sing "一首下雨天想家的慢歌，女声，钢琴" --duration 30 --seed 7 --out rain.flac

Faults of the input end with one sentence and status 2, Ctrl-C with status 130; files are either
whole or absent. Heavy imports live inside the commands, so that `--help` answers at once.
"""

import argparse
import contextlib
import os
import re
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from app.folder import DEMO, check
from app.request import (
    DURATION,
    GUIDANCE,
    LONGEST,
    SCORE_GUIDANCE,
    SHORTEST,
    STEPS,
    Request,
    read_score,
    read_structure,
    read_titled,
)
from app.telling import overheard
from common.errors import AudioError, RequestError, SongError, refusal
from common.interrupts import on_ctrl_c
from common.quiet import without_kernel_warning

if TYPE_CHECKING:
    from app.pipeline import SongPipeline

FAULT, INTERRUPTED = 2, 130  # exit statuses


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit status."""
    came: list[bool] = []  # Ctrl-C; a library that it stops may take it for a fault of its own

    def stop() -> NoReturn:
        came.append(True)
        raise KeyboardInterrupt

    with on_ctrl_c(stop):
        try:
            args = parser().parse_args(argv)
            return args.run(args)
        except KeyboardInterrupt:
            pass
        except (SongError, OSError) as error:
            if not came:
                return _complain(str(error) if isinstance(error, SongError) else refusal(error))
    _say("\nstopped: nothing was written")
    return INTERRUPTED


class _Parser(argparse.ArgumentParser):
    """argparse prints its usage before an error; here an error is one sentence."""

    given: Sequence[str] = ()

    def parse_known_args(self, args=None, namespace=None):  # type: ignore[no-untyped-def,override]
        self.given = sys.argv[1:] if args is None else list(args)
        return super().parse_known_args(args, namespace)

    def error(self, message: str) -> NoReturn:
        # No option has a name outside ASCII: this is a description.
        words = next((a for a in self.given if re.match(r"-+[^\x00-\x7f]", a)), None)
        if words:
            message += f"; write `--` before words that begin with a hyphen: -- {words!r}"
        raise RequestError(f"{message} (see `{self.prog} --help`)")


def parser() -> argparse.ArgumentParser:
    """The arguments of all commands; `args.run` is the command's function."""
    top = _Parser(prog="baihua", description="白话: a description in plain Chinese becomes a whole song.")
    commands = top.add_subparsers(title="commands", required=True, metavar="COMMAND")

    add = commands.add_parser("sing", help="a description becomes a song (FLAC, lyrics, score)")
    _add_description(add)
    _add_words(add)
    add.add_argument("--score", metavar="FILE", help="your own lead sheet: .abc or .mid")
    add.add_argument("--instrumental", action="store_true", default=None, help="nobody sings")
    add.add_argument(
        "--steps", type=_whole, default=STEPS, metavar="N", help=f"steps of the sampler ({STEPS})"
    )
    guidance = f"how closely to follow the description ({GUIDANCE:g}; 1: no guidance)"
    add.add_argument("--guidance-scale", type=_number, default=GUIDANCE, metavar="X", help=guidance)
    guidance = f"how closely to follow the score ({SCORE_GUIDANCE:g}; 1: no guidance)"
    add.add_argument(
        "--score-guidance-scale", type=_number, default=SCORE_GUIDANCE, metavar="X", help=guidance
    )
    add.add_argument(
        "--no-score", action="store_true", help="sing without a plan (the paper's single-stage model)"
    )
    add.add_argument(
        "--out", metavar="FILE", help="the .flac to write (default: named after the description)"
    )
    add.set_defaults(run=_sing)

    add = commands.add_parser("again", help="make a song again from the recipe in its file")
    add.add_argument("song", metavar="SONG", help="a .flac that `baihua sing` wrote")
    add.add_argument(
        "--out", metavar="FILE", help="the .flac to write (default: named after the description)"
    )
    _add_model(add)
    add.set_defaults(run=_again)

    add = commands.add_parser("lyrics", help="write only the words")
    _add_description(add)
    _add_words(add)
    add.add_argument("--score", metavar="FILE", help="a melody to write words for: .abc or .mid")
    add.add_argument(
        "--pinyin", action="store_true", help="write how each character is read behind it, to edit"
    )
    add.add_argument("--out", metavar="FILE", help="the .txt to write (default: print)")
    add.set_defaults(run=_lyrics)

    add = commands.add_parser("score", help="write only the lead sheet, as ABC")
    _add_description(add)
    _add_words(add)
    add.add_argument("--instrumental", action="store_true", default=None, help="nobody sings")
    add.add_argument("--out", metavar="FILE", help="the .abc to write (default: print)")
    add.set_defaults(run=_score)

    add = commands.add_parser("app", help="open the web page on this machine")
    add.add_argument("--port", type=_whole, default=7860, help="the port to listen on (7860)")
    _add_model(add)
    add.set_defaults(run=_app)

    add = commands.add_parser("doctor", help="versions, models, machine, and what will be slow")
    _add_model(add)
    add.set_defaults(run=_doctor)
    return top


def _add_description(command: argparse.ArgumentParser) -> None:
    command.add_argument("description", metavar="DESCRIPTION", help="the song in plain words")
    default = f"the score's, else the description's, else {DURATION:g}"
    seconds = f"seconds of song, {SHORTEST:g} to {LONGEST:g} (default: {default})"
    command.add_argument("--duration", type=_number, metavar="S", help=seconds)
    audience = "whose words the description is in: amateur or professional"
    command.add_argument("--audience", default="amateur", metavar="WHO", help=audience)
    command.add_argument("--seed", type=_whole, default=1, metavar="N", help="another seed, another song (1)")
    _add_model(command)


def _add_words(command: argparse.ArgumentParser) -> None:
    """The user's own words, or what is asked of those that are written."""
    command.add_argument("--lyrics", metavar="FILE", help="your own words: .txt (tags as <verse>), .md, .lrc")
    readings = "how phrases of your words are read: .txt with lines such as 还{huan2}给"
    command.add_argument("--readings", metavar="FILE", help=readings)
    _add_wording(command)


def _add_wording(command: argparse.ArgumentParser) -> None:
    structure = "the form of the words: .txt of sections as <verse> and lines as 7R, R for those that rhyme"
    command.add_argument("--structure", metavar="FILE", help=structure)
    rhyme = "the rhyme of the words: a group such as 江阳, or a scheme such as AABA"
    command.add_argument("--rhyme", default="", metavar="RHYME", help=rhyme)
    command.add_argument(
        "--theme", default="", metavar="THEME", help="what the words are about, such as 月亮"
    )
    command.add_argument(
        "--writer",
        metavar="QWEN",
        help="a Qwen3 that writes the words: a folder or a name such as Qwen/Qwen3-4B-Instruct-2507",
    )
    adapter = "with --writer: the folder of an adapter that `lyrics_llm.train` made of it"
    command.add_argument("--adapter", metavar="DIR", help=adapter)


def _add_model(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--model", default=DEMO, metavar="DIR", help="a folder of models (default: the bundled)"
    )


def _whole(text: str) -> int:
    try:
        return int(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"a whole number is needed, but got {text!r}") from None


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"a number is needed, but got {text!r}") from None


# ---- commands ----------------------------------------------------------------------------------


def _sing(args: argparse.Namespace) -> int:
    request = _request(args)
    target = _song_file(args, request)
    pipeline = _load(args.model)
    return _sung(pipeline, _with_words_by(args, request, pipeline), target)


def _again(args: argparse.Namespace) -> int:
    from app.again import differences, request_of
    from common.song import recipe_of

    recipe = recipe_of(args.song)
    request = request_of(recipe)
    target = _song_file(args, request)
    pipeline = _load(args.model)
    for difference in differences(recipe, pipeline):
        _say(f"note: {difference}")
    return _sung(pipeline, request, target)


def _song_file(args: argparse.Namespace, request: Request) -> Path:
    return check_output(free_name(request) if args.out is None else _named(args.out, "--out"), ".flac")


def _sung(pipeline: "SongPipeline", request: Request, target: Path) -> int:
    _say(pipeline.estimate_sentence(request))
    began = time.monotonic()
    with _progress() as progress:
        song = pipeline.sing(request, progress=progress)
    for warning in song.warnings:
        _say(f"note: {warning}")
    for path in song.save(target):
        print(path)
    _say(f"{song.audio.duration:.1f} s of song in {time.monotonic() - began:.1f} s")
    return 0


def _lyrics(args: argparse.Namespace) -> int:
    request = _request(args)
    target = None if args.out is None else check_output(_named(args.out, "--out"), ".txt")
    if request.score is not None and request.instrumental is None:
        request = replace(request, instrumental=False)  # who asks for words wants the tune to be sung
    lyrics, warnings = _load(args.model).write_lyrics(request, _word_writer(args, request))
    for warning in warnings:
        _say(f"note: {warning}")
    from common.pinyin import annotate

    return _deliver(annotate(str(lyrics), every=True) if args.pinyin else str(lyrics), target)


def _score(args: argparse.Namespace) -> int:
    request = _request(args)
    target = None if args.out is None else check_output(_named(args.out, "--out"), ".abc")
    pipeline = _load(args.model)
    score, warnings = pipeline.write_score(_with_words_by(args, request, pipeline))
    from common.abc import to_abc

    for warning in warnings:
        _say(f"note: {warning}")
    return _deliver(to_abc(score), target)


def _word_writer(args: argparse.Namespace, request: Request) -> Any:
    """The Qwen3 of --writer, loaded; None where none is asked for, or has nothing to write."""
    if args.writer is None:
        if args.adapter is not None:
            raise RequestError("--adapter goes with the Qwen3 that it was trained on: name it with --writer")
        return None
    if request.lyrics is not None or (request.score is not None and request.score.lyrics().lines):
        _say("note: the words are given, so --writer has none to write")
        return None
    from lyrics_llm.author import load

    _say(f"loading {args.writer} …")
    return load(args.writer, args.adapter)


def _with_words_by(args: argparse.Namespace, request: Request, pipeline: "SongPipeline") -> Request:
    """The request with words of the Qwen3 of --writer, as if the user had brought them."""
    writer = _word_writer(args, request)
    if writer is None:
        return request
    lyrics, warnings = pipeline.write_lyrics(request, writer)
    for warning in warnings:
        _say(f"note: {warning}")
    if not lyrics.lines:
        return request
    return replace(request, lyrics=lyrics, structure="", rhyme="", theme="")


def _app(args: argparse.Namespace) -> int:
    if not 0 < args.port < 65536:
        raise RequestError(f"a port lies between 1 and 65535, but got {args.port}")
    pipeline = _load(args.model)
    from app.ui import launch

    try:
        launch(pipeline, port=args.port)
    except OSError as error:
        if "empty port" in str(error):
            raise RequestError(
                f"port {args.port} is taken, perhaps by another page of Baihua: choose one with --port"
            ) from None
        raise
    return 0


def _doctor(args: argparse.Namespace) -> int:
    from app.doctor import report

    print(report(args.model))
    return 0


def _request(args: argparse.Namespace) -> Request:
    """The request of the arguments; what is odd about the files they name is said."""
    with overheard() as said:
        request = _read_request(args)
    for sentence in said:
        _say(f"note: {sentence}")
    return request


def _read_request(args: argparse.Namespace) -> Request:
    """As `_request`; files are read here, and what a command lacks has its default."""
    have = vars(args)
    words, score = have.get("lyrics"), have.get("score")
    readings, structure = have.get("readings"), have.get("structure")
    if readings is not None and words is None:
        raise RequestError("--readings says how your own words are read: give them with --lyrics")
    spoken = None if readings is None else _named(readings, "--readings")
    lyrics, title = (None, "") if words is None else read_titled(_named(words, "--lyrics"), spoken)
    return Request(
        description=args.description,
        lyrics=lyrics,
        score=None if score is None else read_score(_named(score, "--score")),
        duration=args.duration,
        audience=args.audience,
        seed=args.seed,
        num_inference_steps=have.get("steps", STEPS),
        guidance_scale=have.get("guidance_scale", GUIDANCE),
        score_guidance_scale=have.get("score_guidance_scale", SCORE_GUIDANCE),
        instrumental=have.get("instrumental"),
        use_score=not have.get("no_score", False),
        title=title,
        structure="" if structure is None else read_structure(_named(structure, "--structure")),
        rhyme=have.get("rhyme", ""),
        theme=have.get("theme", ""),
    )


def _named(name: str, option: str) -> Path:
    if not name.strip():
        raise RequestError(f"{option} is empty: give the name of a file, or leave {option} out")
    return Path(name)


def _load(model: str) -> "SongPipeline":
    """The pipeline; the folder is checked before the slow imports, so that a typo is told at once."""
    folder = check(model)
    _say("loading the models …")
    from transformers.utils.logging import disable_progress_bar

    with without_kernel_warning():
        from app.pipeline import SongPipeline

    disable_progress_bar()  # ours is enough
    return SongPipeline.from_pretrained(folder)


# ---- files -------------------------------------------------------------------------------------


def free_name(request: Request, folder: Path = Path()) -> Path:
    """A file name of the description and the seed that no earlier song has."""
    words = re.sub(r"[^\w]+", "-", request.description).strip("-_")[:24].rstrip("-_") or "song"
    stem = f"{words}-{request.seed}"
    names = (f"{stem}{'' if n == 1 else f'-{n}'}.flac" for n in range(1, 10**6))
    return next(folder / name for name in names if not (folder / name).exists())


def check_output(path: Path, suffix: str) -> Path:
    """The path, if a file with the suffix can be written there. Raises AudioError in one sentence."""
    if path.suffix.lower() != suffix:
        raise AudioError(f"--out is written as {suffix}, but the file asked for is {str(path)!r}")
    if not path.parent.is_dir():
        raise AudioError(f"the folder {str(path.parent)!r} doesn't exist: make it first, or choose another")
    if path.is_dir():
        raise AudioError(f"{str(path)!r} is a folder: give the name of a file")
    if not os.access(path.parent, os.W_OK):
        raise AudioError(f"the folder {str(path.parent)!r} can't be written to: choose another")
    draft = path.with_name(f".{path.name}.part")
    try:  # some folders, as /proc, refuse a file although they say that they can be written to
        draft.touch()
        draft.unlink()
    except OSError as error:
        raise AudioError(
            f"{str(path)!r} can't be written ({error.strerror or error}): choose another place or name"
        ) from None
    return path


def _deliver(text: str, target: Path | None) -> int:
    if target is None:
        print(text, end="" if text.endswith("\n") else "\n")
        return 0
    draft = target.with_name(f".{target.name}.part")
    try:
        draft.write_text(text, encoding="utf-8")
        draft.replace(target)
    finally:
        draft.unlink(missing_ok=True)
    print(target)
    return 0


# ---- talking -----------------------------------------------------------------------------------


def _say(sentence: str) -> None:
    print(sentence, file=sys.stderr, flush=True)


def _complain(sentence: str) -> int:
    _say("baihua: " + " ".join(sentence.split()))
    return FAULT


class _Progress:
    """Stages on stderr: a line that moves on a terminal, a line a stage elsewhere."""

    def __init__(self) -> None:
        self.moves = sys.stderr.isatty()
        self.stage = ""

    def __call__(self, stage: str, share: float) -> None:
        if self.moves:
            done = round(20 * share)
            print(f"\r{stage:<28} {'█' * done}{'·' * (20 - done)}", end="", file=sys.stderr, flush=True)
        elif stage != self.stage:
            _say(stage)
        self.stage = stage


@contextlib.contextmanager
def _progress() -> Iterator[_Progress]:
    progress = _Progress()
    try:
        yield progress
    finally:
        if progress.moves:
            print("\r" + " " * 60 + "\r", end="", file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
