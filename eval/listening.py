"""A listening test: one page for raters, and what their answers say.

    python -m eval.listening make --songs songs --prompts prompts.jsonl --real data/corpus/test/audio \
        --raters 16 --out listening
    python -m eval.listening analyse --key listening/key.json --answers answers --out listening/results.json

`make` writes page.html, which runs from a disk or any web server and asks nothing of a network: it
holds the clips, blinded and shuffled, and ends by saving a file of answers for the rater to send
back. key.json, which says what each clip is, stays with you; a folder that holds another test's key is
refused, since nothing else can read its raters' answers. A clip keeps its channels (two at most) and its
sampling rate up to 48 kHz, as Ogg Vorbis of quality 6. Every rater has a number; sheet n of
an audience goes to its rater n, and each clip comes up equally often (within one) among the raters
of each audience, no sheet having one prompt twice where that can be avoided.

Conventions: the eight questions of Wang 2025 (MuDiT/MuSiT), section 4.2.1, from 1 to 5; vocals and
lyrics may be "not there". Each sheet has MusicEval's traps (Liu 2025, section IV.C): a real song, and
a clip that comes twice. `analyse` leaves out, with the reason, raters who fail them. The MOS is the
mean of ratings; its interval is over raters and songs at once. Tests between two systems: Welch's t
on ratings, as the paper has it, which takes ratings for independent and so finds differences too
easily, and Wilcoxon's signed ranks on prompts' means, both corrected by Holm. Where so few prompts could
not have given a significant rank test whatever the marks, that is said instead of a verdict.
"""

import base64
import hashlib
import html
import json
import logging
import sys
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
from scipy import stats

from common import config as configs
from common.audio import read_audio, resample, to_channels
from common.description import Audience
from common.errors import ConfigError, RequestError, command
from common.seeds import generator
from common.statistics import Estimate, crossed_bootstrap, finite, holm, least_holm
from eval import embeddings, prompts
from eval.agreement import krippendorff_alpha
from eval.prompts import Prompt
from eval.report import vorbis
from eval.run import systems_of

logger = logging.getLogger(__name__)

_PAGE = Path(__file__).parent / "pages/listening.jinja"
_LARGE = 100e6  # bytes of a page that browsers open slowly
_HIGHEST, _QUALITY = 48000, 0.6  # Hz and Vorbis quality of a clip


@dataclass(frozen=True)
class Question:
    """One of the eight; `optional` where a song may have nothing of the kind."""

    id: str
    title: str
    help: str
    optional: bool = False


QUESTIONS = (
    Question("vocal", "人声", "音色、旋律与节奏", optional=True),
    Question("accompaniment", "伴奏", "编曲、配器、与旋律的融合"),
    Question("structure", "结构", "段落划分、重复与递进"),
    Question("impression", "整体印象", "音质与连贯"),
    Question("lyrics", "歌词相符", "歌词是否符合描述", optional=True),
    Question("genre", "曲风相符", "风格是否符合描述"),
    Question("emotion", "情绪相符", "情绪是否符合描述"),
    Question("instrument", "乐器相符", "乐器是否符合描述"),
)
_ASKED = tuple(question.id for question in QUESTIONS)
QUALITY = ("vocal", "accompaniment", "structure", "impression")
WORDS = {
    "title": "听感测试",
    "welcome": "请戴耳机，在安静的地方听。每段音乐可以反复听，先听再打分。中途关闭页面后可以接着做。",
    "name": "称呼",
    "number": "您的编号",
    "who": "您是",
    "audiences": {"professional": "音乐专业人士", "amateur": "普通听众"},
    "incomplete": "请填写称呼、编号（从 1 开始的整数），并选择身份。",
    "start": "开始",
    "resume": "接着做",
    "asked": "这段音乐的要求是：",
    "scale": "1 很差，2 较差，3 一般，4 较好，5 很好",
    "none": "没有",
    "unanswered": "还没有回答：",
    "unheard": "请先听这段音乐。",
    "next": "下一段",
    "thanks": "谢谢！",
    "send": "请保存下面的文件，发给测试的组织者：",
    "again": "换一位听众",
}


# ---- the design ----------------------------------------------------------------------------


@dataclass(frozen=True)
class Clip:
    """What a code on the page stands for."""

    file: str
    system: str  # or "real"
    prompt: str  # id
    text: str
    audience: str | None  # of the prompt

    @property
    def kind(self) -> str:
        return "real" if self.system == REAL else "song"


REAL = "real"


@dataclass(frozen=True)
class Sheet:
    """The codes in the order of hearing, and which places are traps."""

    codes: tuple[str, ...]
    repeated: tuple[int, int] | None  # two places of the same clip


@dataclass(frozen=True)
class MakeConfig:
    """Settings of `make`."""

    songs: str  # a folder of one folder per system
    prompts: str  # as eval.prompts reads them
    out: str  # a folder for page.html and key.json
    real: str | None = None  # a folder of real songs for the trap
    raters: int = 16  # of each audience
    each: int = 20  # clips of a sheet, before the traps
    seconds: float = 30.0  # of a clip
    least: float = 5.0  # seconds that must be heard before going on
    embed: bool = True  # clips inside the page; else in a folder beside it
    seed: int = 0

    def __post_init__(self) -> None:
        for name, least in (("raters", 1), ("each", 1), ("seconds", 1.0), ("least", 0.0)):
            if not getattr(self, name) >= least:
                raise ConfigError(f"{name} is {least:g} or more, but got {getattr(self, name):g}")


def codes_of(count: int, seed: int) -> list[str]:
    """Distinct codes that say nothing, such as K42."""
    letters = "ABCDEFGHJKLMNPQRSTUVWXYZ"
    every = [f"{a}{n:02}" for a in letters for n in range(10, 100)]
    if count > len(every):
        raise RequestError(f"a test has at most {len(every)} clips, but got {count}")
    return [every[i] for i in generator(seed, "codes").permutation(len(every))[:count]]


def sheets(clips: dict[str, Clip], raters: int, each: int, seed: int, audience: str) -> list[tuple[str, ...]]:
    """Codes of every rater's sheet, each code as often as any other within one, before the traps.

    A sheet takes the clips that were heard least so far; among those, systems that it has least of,
    and no prompt that it has already unless nothing else is left.

    Raises:
        RequestError: a sheet would be larger than the test.
    """
    songs = sorted(code for code, clip in clips.items() if clip.kind == "song")
    if each > len(songs):
        raise RequestError(f"a sheet of {each} clips needs as many songs, but there are {len(songs)}")
    heard: Counter[str] = Counter()
    out = []
    for rater in range(raters):
        rng = generator(seed, "sheet", audience, rater)
        chosen = _sheet(clips, songs, each, heard, rng)
        heard.update(chosen)
        out.append(tuple(chosen[i] for i in rng.permutation(each)))
    return out


def _sheet(
    clips: dict[str, Clip], songs: Sequence[str], each: int, heard: Counter[str], rng: np.random.Generator
) -> list[str]:
    """The songs of one sheet, given how often each was heard on the sheets before."""
    luck = dict(zip(songs, rng.permutation(len(songs)).tolist()))
    chosen: list[str] = []
    prompts_had: Counter[str] = Counter()
    systems_had: Counter[str] = Counter()
    audiences_had: Counter[str | None] = Counter()

    def cost(code: str) -> tuple[int, ...]:
        clip = clips[code]
        had = (prompts_had[clip.prompt], systems_had[clip.system], audiences_had[clip.audience])
        return heard[code], *had, luck[code]

    for _ in range(each):
        best = min((c for c in songs if c not in chosen), key=cost)
        chosen.append(best)
        prompts_had[clips[best].prompt] += 1
        systems_had[clips[best].system] += 1
        audiences_had[clips[best].audience] += 1
    return chosen


def with_traps(codes: Sequence[str], real: Sequence[str], rng: np.random.Generator) -> Sheet:
    """A sheet with a real song in its middle and its first clip again near its end."""
    order = list(codes)
    if real:
        order.insert(int(rng.integers(1, len(order) + 1)), str(rng.choice(list(real))))
    if len(order) < 4:
        return Sheet(tuple(order), None)
    songs = [c for c in order[: len(order) // 2] if c not in real]
    again = songs[int(rng.integers(len(songs)))]
    first = order.index(again)
    second = int(rng.integers(max(first + 2, 3 * len(order) // 4), len(order) + 1))
    order.insert(second, again)
    return Sheet(tuple(order), (first, second))


# ---- make ----------------------------------------------------------------------------------


def clips_of(config: MakeConfig) -> dict[str, Clip]:
    """Code → clip of every song that answers a prompt, and of the real songs.

    Raises:
        RequestError: no song answers a prompt.
    """
    asked = prompts.read(config.prompts)
    found: list[Clip] = []
    for system, files in systems_of(config.songs).items():
        if system == REAL:
            raise RequestError(f"a system can't be called {REAL!r}: rename its folder")
        answers = prompts.answered([f.stem for f in files], asked)
        for file in files:
            if file.stem in answers:
                p = answers[file.stem]
                found.append(Clip(str(file), system, p.id, p.text, p.audience))
    if not found:
        raise RequestError("no song is called by the id of a prompt")
    if config.real:
        found += _real(Path(config.real), list(asked.values()))
    return dict(zip(codes_of(len(found), config.seed), found))


def _real(folder: Path, asked: Sequence[Prompt]) -> list[Clip]:
    """Real songs with words that were said of them, or with a prompt of the test where nobody said any."""
    files = embeddings.audio_files(folder)
    own = {ref: p for p in asked if (ref := p.reference_in(f.stem for f in files)) is not None}
    chosen = [f for f in files if f.stem in own][:8] or files[:8]
    out = []
    for place, file in enumerate(chosen):
        p = own.get(file.stem, asked[place % len(asked)])
        out.append(Clip(str(file), REAL, p.id, p.text, p.audience))
    return out


def make(config: MakeConfig) -> Path:
    """Write page.html and key.json; returns the page.

    Raises:
        SongError: songs, prompts or audio can't be used.
    """
    clips = clips_of(config)
    real = [code for code, clip in clips.items() if clip.kind == "real"]
    if not real:
        logger.warning("no --real folder: raters who say high marks of anything can't be told")
    design = {
        a.value: [
            with_traps(codes, real, generator(config.seed, "traps", a, n))
            for n, codes in enumerate(sheets(clips, config.raters, config.each, config.seed, a.value))
        ]
        for a in Audience
    }
    used = sorted({code for rows in design.values() for sheet in rows for code in sheet.codes})
    test = _digest(clips, design, config.seconds)
    out = Path(config.out)
    _refuse_another(out / "key.json", test)
    out.mkdir(parents=True, exist_ok=True)
    shown = {
        code: {"src": _source(clips[code], code, config, out), "prompt": clips[code].text} for code in used
    }
    data = {
        "id": test,
        "words": WORDS,
        "questions": [asdict(q) for q in QUESTIONS],
        "least": config.least,
        "clips": shown,
        "sheets": {a: [sheet.codes for sheet in rows] for a, rows in design.items()},
    }
    key = {
        "test": test,
        "clips": {code: asdict(clip) for code, clip in clips.items()},
        "repeated": {a: [sheet.repeated for sheet in rows] for a, rows in design.items()},
        "sheets": data["sheets"],
    }
    # "</" would end the script element from inside a string.
    text = json.dumps(data, ensure_ascii=False).replace("</", "<\\/")
    page = _PAGE.read_text(encoding="utf-8").replace("{{ data }}", text)
    if len(page) > _LARGE:
        logger.warning("the page has %.0f MB: --embed false keeps the clips beside it", len(page) / 1e6)
    (out / "page.html").write_text(page, encoding="utf-8")
    (out / "key.json").write_text(json.dumps(key, ensure_ascii=False, indent=1), encoding="utf-8")
    return out / "page.html"


def _digest(clips: dict[str, Clip], design: dict[str, list[Sheet]], seconds: float) -> str:
    """The name of a test: another one where any song, prompt or sheet is another."""
    told = {code: (asdict(clip), _hash(Path(clip.file))) for code, clip in clips.items()}
    rows = {audience: [asdict(sheet) for sheet in sheets] for audience, sheets in design.items()}
    return hashlib.sha256(json.dumps([told, rows, seconds], sort_keys=True).encode()).hexdigest()[:12]


def _hash(file: Path) -> str:
    with file.open("rb") as data:
        return hashlib.file_digest(data, "sha256").hexdigest()


def _refuse_another(key: Path, test: str) -> None:
    """Raise RequestError where the key of another test would be overwritten."""
    if key.is_file() and _key(key)["test"] != test:
        raise RequestError(
            f"{key} is of another test, whose answers can't be read without it: give another --out, or "
            "remove it if nobody has heard that test"
        )


def _sound(file: Path, seconds: float) -> bytes:
    """The beginning of a song, good enough to judge its sound."""
    audio = read_audio(file)
    few = audio if len(audio.samples) <= 2 else to_channels(audio, 2)
    return vorbis(resample(few, min(few.sample_rate, _HIGHEST)), seconds, _QUALITY)


def _source(clip: Clip, code: str, config: MakeConfig, out: Path) -> str:
    """The clip's sound as a data URL, or as a file called by its code."""
    sound = _sound(Path(clip.file), config.seconds)
    if config.embed:
        return "data:audio/ogg;base64," + base64.b64encode(sound).decode()
    (out / "clips").mkdir(exist_ok=True)
    (out / f"clips/{code}.ogg").write_bytes(sound)
    return f"clips/{html.escape(code)}.ogg"


# ---- analyse -------------------------------------------------------------------------------


@dataclass(frozen=True)
class AnalyseConfig:
    """Settings of `analyse`."""

    key: str  # key.json of the test
    answers: str  # a folder of answers-*.json
    out: str | None = None  # a JSON file
    least_real: float = 3.0  # mean mark of a real song's quality below which a rater is left out
    most_apart: float = 1.0  # mean difference of the marks of the clip that came twice
    fastest: float = 5.0  # median seconds a clip


@dataclass(frozen=True)
class Rating:
    """One mark."""

    rater: str
    group: str  # the rater's audience
    system: str
    prompt: str
    audience: str | None  # whose words the prompt is
    question: str
    mark: float


@dataclass(frozen=True)
class Opinion:
    """The mean mark of a system in a question."""

    system: str
    question: str
    group: str  # of raters, or "both"
    mos: Estimate
    raters: int


@dataclass(frozen=True)
class Contrast:
    """Two systems in one question: the paper's test, and the one that minds prompts."""

    question: str
    first: str
    second: str
    difference: float
    t_test: float  # p, Holm
    wilcoxon: float  # p, Holm
    prompts: int
    least: float = 0.0  # the smallest that `wilcoxon` could have been with so many prompts

    def __str__(self) -> str:
        p = f"(Wilcoxon p = {self.wilcoxon:.3g}, t-test p = {self.t_test:.3g}, {self.prompts} prompts)"
        if self.wilcoxon > 0.05 and self.least > 0.05:
            return f"{self.question}: too few prompts to tell {self.first} from {self.second} {p}"
        if self.wilcoxon > 0.05:
            return f"{self.question}: no significant difference between {self.first} and {self.second} {p}"
        better, worse = (self.first, self.second) if self.difference > 0 else (self.second, self.first)
        return f"{self.question}: {better} is better than {worse} {p}"


@dataclass(frozen=True)
class Results:
    """What the answers say."""

    opinions: list[Opinion]
    contrasts: list[Contrast]
    agreement: dict[str, float]  # question → Krippendorff's alpha, interval scale
    excluded: dict[str, list[str]]  # rater → reasons
    raters: dict[str, int]  # audience → how many count


def _wrong(answers: Any, key: dict[str, Any]) -> str | None:
    """What in parsed JSON is of a wrong type or out of range for this test; None where nothing is."""
    if not isinstance(answers, dict):
        return f"an object is needed, but got {type(answers).__name__}"
    for name, kind in (("test", str), ("rater", str), ("audience", str), ("number", int), ("answers", list)):
        if not isinstance(answers.get(name), kind):
            return f"{name!r} has to be {kind.__name__}, but got {answers.get(name)!r:.40}"
    if answers["test"] != key["test"]:
        return None  # the rater is left out for that, and nothing else in the file is read
    if answers["audience"] not in key["sheets"]:
        return f"the audience is one of {', '.join(key['sheets'])}, but got {answers['audience']!r}"
    sheets, sheet = len(key["sheets"][answers["audience"]]), answers.get("sheet")
    if isinstance(sheet, bool) or not isinstance(sheet, int) or not 0 <= sheet < sheets:
        return f"the sheet is 0 to {sheets - 1}, but got {sheet!r}"
    return next((fault for a in answers["answers"] if (fault := _wrong_answer(a)) is not None), None)


def _wrong_answer(answer: Any) -> str | None:
    """The same of the answer to one clip."""
    if not isinstance(answer, dict) or not isinstance(answer.get("scores"), dict):
        return f"an answer has a clip and scores, but got {answer!r:.40}"
    if not isinstance(answer.get("clip"), str):
        return f"a clip has a code, but got {answer.get('clip')!r}"
    if not _is_number(answer.get("seconds")):
        return f"clip {answer['clip']} took seconds, but got {answer.get('seconds')!r}"
    for question, mark in answer["scores"].items():
        if question not in _ASKED:
            return f"a question is one of {', '.join(_ASKED)}, but got {question!r}"
        if mark is not None and not (_is_number(mark) and 1 <= mark <= 5):
            return f"a mark is 1 to 5, but clip {answer['clip']} has {mark!r} for {question}"
    return None


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and bool(np.isfinite(value))


def faults(answers: dict[str, Any], key: dict[str, Any], config: AnalyseConfig) -> list[str]:
    """Why a rater doesn't count; nothing when they do."""
    if answers.get("test") != key["test"]:
        return [f"answers of another test ({answers.get('test')})"]
    given = answers["answers"]
    wanted = key["sheets"][answers["audience"]][answers["sheet"]]
    if [a["clip"] for a in given] != list(wanted):
        return [f"{len(given)} of {len(wanted)} clips rated"]
    out = []
    if not any(mark is not None for a in given for mark in a["scores"].values()):
        out.append("no clip has a mark")
    real = [m for a in given if key["clips"][a["clip"]]["system"] == REAL for m in _quality(a)]
    if real and np.mean(real) < config.least_real:
        out.append(f"a real song got {np.mean(real):.1f}, and less than {config.least_real:g} isn't believed")
    if pair := key["repeated"][answers["audience"]][answers["sheet"]]:
        first, second = (given[place]["scores"] for place in pair)
        both = [(mark, second.get(q)) for q, mark in first.items()]
        apart = [abs(one - two) for one, two in both if one is not None and two is not None]
        if apart and np.mean(apart) > config.most_apart:
            out.append(f"the same clip got marks {np.mean(apart):.1f} apart (at most {config.most_apart:g})")
    pace = float(np.median([a["seconds"] for a in given]))
    if pace < config.fastest:
        out.append(f"{pace:.1f} s a clip (at least {config.fastest:g})")
    return out


def _quality(answer: dict[str, Any]) -> list[float]:
    return [answer["scores"][q] for q in QUALITY if answer["scores"].get(q) is not None]


def ratings_of(answers: dict[str, Any], key: dict[str, Any], rater: str) -> list[Rating]:
    """The marks of one rater without the traps: of a clip that came twice, the first."""
    pair = key["repeated"][answers["audience"]][answers["sheet"]]
    out = []
    for place, answer in enumerate(answers["answers"]):
        clip = key["clips"][answer["clip"]]
        if clip["system"] == REAL or (pair and place == pair[1]):
            continue
        for question, mark in answer["scores"].items():
            if mark is not None:
                out.append(
                    Rating(
                        rater,
                        answers["audience"],
                        clip["system"],
                        clip["prompt"],
                        clip["audience"],
                        question,
                        mark,
                    )
                )
    return out


def analyse(config: AnalyseConfig) -> Results:
    """Read the answers, leave out who fails the traps, and measure.

    Raises:
        RequestError: the key or the answers can't be read, or nobody counts.
    """
    key = _key(Path(config.key))
    files = sorted(Path(config.answers).glob("*.json"))
    if not files:
        raise RequestError(f"{config.answers} holds no answers (*.json)")
    excluded, ratings, count = {}, [], Counter({a.value: 0 for a in Audience})
    counted: dict[str, Path] = {}
    for file in files:
        answers = _json(file)
        if wrong := _wrong(answers, key):
            raise RequestError(f"{file} isn't a file of answers: {wrong}")
        rater = f"{answers['audience']} {answers['number']} {answers['rater']}"
        reasons = faults(answers, key, config)
        if reasons:
            excluded[f"{rater} ({file.name})"] = reasons
            continue
        if rater in counted:
            raise RequestError(f"{file} and {counted[rater]} are answers of one rater ({rater}): keep one")
        counted[rater] = file
        ratings += ratings_of(answers, key, rater)
        count[answers["audience"]] += 1
    if not ratings:
        reasons = [r for v in excluded.values() for r in v] or ["only traps have marks"]
        raise RequestError(f"no rater counts: {'; '.join(reasons)}")
    return Results(_opinions(ratings), _contrasts(ratings), _agreement(ratings), excluded, dict(count))


def _key(path: Path) -> dict[str, Any]:
    """What each clip is, as `make` wrote it."""
    key = _json(path)
    parts = {"test": str, "clips": dict, "repeated": dict, "sheets": dict}
    if not isinstance(key, dict) or not all(isinstance(key.get(n), kind) for n, kind in parts.items()):
        raise RequestError(f"{path} isn't the key.json of a test: it has to have {', '.join(parts)}")
    return key


def _json(path: Path) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise RequestError(f"{path} can't be read as JSON: {error}") from error


def _opinions(ratings: Sequence[Rating]) -> list[Opinion]:
    out = []
    for system in sorted({r.system for r in ratings}):
        for question in QUESTIONS:
            mine = [r for r in ratings if (r.system, r.question) == (system, question.id)]
            for group in (*Audience, "both"):
                part = [r for r in mine if group in ("both", r.group)]
                if part:
                    marks, raters = [r.mark for r in part], [r.rater for r in part]
                    mos = crossed_bootstrap(marks, raters, [r.prompt for r in part])
                    out.append(Opinion(system, question.id, str(group), mos, len(set(raters))))
    return out


def _contrasts(ratings: Sequence[Rating]) -> list[Contrast]:
    raw = []
    for question in QUESTIONS:
        marks: dict[str, list[float]] = defaultdict(list)
        by_prompt: dict[str, dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
        for r in ratings:
            if r.question == question.id:
                marks[r.system].append(r.mark)
                by_prompt[r.system][r.prompt].append(r.mark)
        for first, second in combinations(sorted(marks), 2):
            shared = sorted(set(by_prompt[first]) & set(by_prompt[second]))
            means = [[float(np.mean(by_prompt[s][p])) for p in shared] for s in (first, second)]
            raw.append((question.id, first, second, means, (marks[first], marks[second])))
    t_tests = holm([_welch(*both) for *_, both in raw])
    ranks = [_signed_ranks(*means) for *_, means, _ in raw]
    least = least_holm(ranks, [_least_ranks(len(means[0])) for *_, means, _ in raw])
    return [
        Contrast(
            q,
            a,
            b,
            float(np.mean(means[0]) - np.mean(means[1])) if means[0] else float("nan"),
            t,
            w,
            len(means[0]),
            bound,
        )
        for (q, a, b, means, _), t, w, bound in zip(raw, t_tests, holm(ranks), least)
    ]


def _welch(first: Sequence[float], second: Sequence[float]) -> float:
    """p of Welch's t-test; 1 where marks don't vary and agree."""
    if min(len(first), len(second)) < 2 or (np.ptp(first) == 0 and np.ptp(second) == 0):
        return float(len(first) < 2 or len(second) < 2 or first[0] == second[0])
    sides = [(np.mean(side), np.std(side, ddof=1), len(side)) for side in (first, second)]
    return float(stats.ttest_ind_from_stats(*sides[0], *sides[1], equal_var=False).pvalue)


def _signed_ranks(first: Sequence[float], second: Sequence[float]) -> float:
    """p of Wilcoxon's signed ranks; 1 where no prompt differs."""
    differences = np.round(np.subtract(first, second), 9)
    if not np.any(differences):
        return 1.0
    # Ties are the rule among means of whole marks, so the exact table doesn't hold for many of them.
    return float(stats.wilcoxon(differences[differences != 0]).pvalue)


def _least_ranks(prompts: int) -> float:
    """The smallest p of `_signed_ranks`: every prompt differs, and all in one direction."""
    return _signed_ranks(np.arange(1.0, prompts + 1).tolist(), [0.0] * prompts)


def _agreement(ratings: Sequence[Rating]) -> dict[str, float]:
    out = {}
    for question in QUESTIONS:
        mine = [r for r in ratings if r.question == question.id]
        raters = sorted({r.rater for r in mine})
        items = sorted({(r.system, r.prompt) for r in mine})
        table = np.full((len(raters), len(items)), np.nan)
        for r in mine:
            table[raters.index(r.rater), items.index((r.system, r.prompt))] = r.mark
        if len(raters) > 1 and (np.isfinite(table).sum(0) > 1).any():
            out[question.id] = krippendorff_alpha(table)
    return out


# ---- commands ------------------------------------------------------------------------------


def _make_command(argv: Sequence[str]) -> None:
    config = configs.parse(MakeConfig, argv)
    page = make(config)
    print(f"wrote {page} for raters, and {page.parent / 'key.json'}, which they shouldn't see")


def _analyse_command(argv: Sequence[str]) -> None:
    config = configs.parse(AnalyseConfig, argv)
    results = analyse(config)
    print(", ".join(f"{n} {a} raters" for a, n in results.raters.items()))
    for rater, reasons in results.excluded.items():
        print(f"left out: {rater}: {'; '.join(reasons)}")
    for o in results.opinions:
        print(f"{o.question:14} {o.system:16} {o.group:13} {o.mos} by {o.raters} raters")
    for contrast in results.contrasts:
        print(contrast)
    for question, alpha in results.agreement.items():
        print(f"agreement on {question}: alpha {alpha:.3f}")
    if config.out:
        Path(config.out).write_text(
            json.dumps(finite(asdict(results)), ensure_ascii=False, indent=1), encoding="utf-8"
        )


@command
def main(argv: Sequence[str] | None = None) -> int:
    """The command: 0, or 2 with one sentence for a wrong input."""
    logging.basicConfig(level=logging.WARNING, format="%(message)s")
    configs.dispatch({"make": _make_command, "analyse": _analyse_command}, argv)
    return 0


if __name__ == "__main__":
    sys.exit(main())
