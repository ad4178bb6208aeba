"""The decisions of a song before its first note: genre, singer, tempo, key, instruments, form.

A plan is drawn from a seed and holds no audio, so a million of them can be counted. It keeps
the promise of the evaluation: the triples genre × singer × instrument of `is_held_out` never
occur in the splits `train` and `valid`, and in half of the songs of `test` one does.
"""

import logging
from dataclasses import dataclass
from functools import cache
from typing import Any, get_args

import numpy as np

from common.errors import ConfigError
from common.lyrics import SectionTag
from common.score import Groove
from common.seeds import derive_seed, generator
from common.theory import Key
from corpus.forms import Form, FormSection, form
from corpus.genres import GENRES, MOODS
from corpus.moods import Feeling, feeling
from corpus.record import Singer, SongRecord, Split
from corpus.styles import Genre, Instrument
from corpus.words import THEMES

logger = logging.getLogger(__name__)

SINGERS: tuple[str, ...] = get_args(Singer)
_SINGER_SHARES = {"female": 0.40, "male": 0.35, "child": 0.10, "none": 0.15}
# Songs by length: share, shortest and longest in seconds.
_DURATIONS = ((0.06, 12.0, 20.0), (0.70, 20.0, 45.0), (0.20, 45.0, 90.0), (0.04, 90.0, 240.0))
_ENERGY = {
    "intro": 0.4, "verse": 0.55, "pre-chorus": 0.7, "chorus": 0.95, "bridge": 0.5, "interlude": 0.65,
    "outro": 0.5,
}  # fmt: skip
# Listeners ask for lonely jazz and for pop with an erhu, which no row of the table has: of the songs of a
# split this share has a mood of any genre, and this share of each role of `_GUESTS` an instrument of another
# genre. Where the genre mostly tells the mood nobody learns to hear it: songs for training are freer.
_FREE_MOODS: dict[Split, float] = {"train": 0.6, "valid": 0.3, "test": 0.3}
_GUEST_SHARE = 0.15
_GUESTS = ("harmony", "lead", "pad")
_POWER = ("power", "chug", "ring")  # ways of playing that only an electric guitar has
# Where each singer is at ease: lowest and highest MIDI note.
COMFORT: dict[str, tuple[int, int]] = {
    "female": (57, 74), "male": (47, 65), "child": (61, 76), "none": (60, 79),
}  # fmt: skip
# Which of these themes a mood or genre suits; anything else takes any theme.
_SUITED = {
    "古风": ("思乡", "离别", "江湖", "重逢", "星空", "秋天", "春天", "冬天", "月亮"),
    "思乡": ("思乡", "母亲", "父亲", "童年", "秋天", "月亮", "过年", "打工"),
    "热血": ("梦想", "青春", "友情", "江湖", "打工", "毕业", "运动", "考试"),
    "激昂": ("梦想", "青春", "旅行", "友情", "草原", "毕业", "打工", "运动", "考试"),
    "愤怒": ("失恋", "打工", "城市夜晚", "孤独", "梦想", "江湖"),
    "狂欢": ("夏天", "城市夜晚", "海边", "青春", "友情", "过年", "毕业", "生日", "美食"),
    "阳光": ("夏天", "海边", "旅行", "春天", "友情", "日常", "宠物", "草原", "生日", "美食", "运动"),
    "浪漫": ("初恋", "告白", "婚礼", "星空", "海边", "月亮", "下雨天", "夏天", "春天"),
    "悠闲": ("日常", "宠物", "旅行", "海边", "春天", "夏天", "草原", "美食", "晚安"),
    "俏皮": ("宠物", "告白", "童年", "日常", "初恋", "夏天", "友情", "生日", "美食"),
    "苍凉": ("草原", "江湖", "离别", "思乡", "秋天", "月亮", "孤独"),
    "伤感": ("离别", "失恋", "下雨天", "思乡", "秋天", "孤独", "毕业", "父亲"),
    "孤独": ("孤独", "失眠", "失恋", "城市夜晚", "下雨天", "冬天", "星空", "月亮"),
    "忧郁": ("失恋", "失眠", "下雨天", "孤独", "秋天", "城市夜晚", "离别", "打工"),
}
# The least and the greatest arousal of songs on a theme.
_STIRRED = {"晚安": (-1.0, 0.15), "运动": (-0.4, 1.0), "生日": (-0.7, 1.0)}


@dataclass(frozen=True)
class SectionPlan:
    """How one section of the form is played."""

    form: FormSection
    energy: float  # 0 … 1
    groove: Groove | None
    fill: bool


@dataclass(frozen=True)
class SongPlan:
    """Everything that is decided of a song before it is composed."""

    seed: int
    split: Split
    genre: str
    mood: str
    theme: str
    tempo: float  # quarter notes a minute
    key: Key
    singer: Singer
    duration: float  # seconds, exactly what the score and the audio last
    lead_in: float  # seconds
    tail: float  # seconds
    swing: float  # as in common.score.Score
    instruments: dict[str, Instrument]  # harmony, bass, lead, drums and perhaps pad
    comping: str  # how the harmony instrument plays
    bass_style: str
    sections: tuple[SectionPlan, ...]
    held_out: bool  # one of its combinations is never trained on

    @property
    def form(self) -> tuple[FormSection, ...]:
        """(tag, bars, syllables of every line) of each section."""
        return tuple(section.form for section in self.sections)

    @property
    def shape(self) -> list[tuple[SectionTag, tuple[int, ...]]]:
        """What the lyric writer is asked for."""
        return [(section.tag, section.lines) for section in self.form]

    @property
    def range(self) -> tuple[int, int]:
        """The lowest and highest MIDI note of the melody."""
        return COMFORT[self.singer]


# ---- combinations kept for evaluation --------------------------------------------------------


def _choices(genre: Genre) -> tuple[list[str], list[str]]:
    """Names of the harmony instruments and of the leads of sung songs, each once."""
    harmony = dict.fromkeys(c.instrument.name for c in genre.comping)
    return list(harmony), list(dict.fromkeys(i.name for i in genre.leads))


@cache
def _kept(genre: str, singer: str) -> str:
    """The one instrument of a genre that this singer isn't heard with in training.

    One instrument for each pair of genre and singer is 15 % of the triples. It is another one
    for each singer, and each role keeps an instrument to train on.
    """
    harmony, leads = _choices(GENRES[genre])
    names = [n for n in dict.fromkeys(harmony + leads) if set(harmony) != {n} and set(leads) != {n}]
    first = derive_seed(0, "held-out combination", genre)
    return names[(first + SINGERS.index(singer)) % len(names)]


def is_held_out(genre: str, singer: str, instrument: str) -> bool:
    """Whether this triple never occurs in `train` and `valid` (`instrument`: of harmony or lead)."""
    return genre in GENRES and singer in SINGERS and _kept(genre, singer) == instrument


# ---- drawing ----------------------------------------------------------------------------------


def _pick(rng: np.random.Generator, options):  # type: ignore[no-untyped-def]
    return options[int(rng.integers(len(options)))]


def _check(name: str, value: object, allowed: tuple[str, ...]) -> None:
    if value is not None and value not in allowed:
        raise ConfigError(f"{name} {value!r} is not one of {', '.join(allowed)}")


def draw_duration(rng: np.random.Generator, limits: tuple[float, float] | None = None) -> float:
    """Seconds of a song: mostly 20–45, some to 90, a few to 240; or evenly between `limits`."""
    if limits is None:
        row = _DURATIONS[int(rng.choice(len(_DURATIONS), p=[share for share, _, _ in _DURATIONS]))]
        limits = row[1:]
    return round(float(rng.uniform(*limits)), 2)


def _singer(rng: np.random.Generator) -> Singer:
    return str(rng.choice(list(_SINGER_SHARES), p=list(_SINGER_SHARES.values())))  # type: ignore[return-value]


def _mood(strange: np.random.Generator, split: Split, own: str) -> str:
    """The given mood of the genre, or any."""
    return _pick(strange, MOODS) if strange.random() < _FREE_MOODS[split] else own


def stirs_as(theme: str, felt: Feeling) -> bool:
    """Whether a feeling is as calm or stirring as songs on a theme are: nobody rocks a child to sleep."""
    least, most = _STIRRED.get(theme, (-1.0, 1.0))
    return least <= felt.arousal <= most


def _themes(genre: str, mood: str) -> list[str]:
    """The themes of a mood, as far as they are its genre's, too."""
    every = [t for t in THEMES if stirs_as(t, feeling(mood))]
    by_mood = [t for t in every if t in _SUITED.get(mood, THEMES)]
    return [t for t in by_mood if t in _SUITED.get(genre, THEMES)] or by_mood


def _guests(
    strange: np.random.Generator, genre: Genre, chosen: dict[str, Instrument], comping: str
) -> tuple[dict[str, Instrument], str]:
    """The instruments with guests from other genres in some roles, and how the harmony is played then.

    A guest plays as the house does: an erhu in reggae where its guitar would, off the beat.
    """
    others = [row for row in GENRES.values() if row.name != genre.name]
    at_home = {name for role in _GUESTS for name in genre.players[role]}
    may_come: dict[str, list[Instrument]] = {
        "harmony": [c.instrument for row in others for c in row.comping if c.styles[0] not in _POWER],
        "lead": [i for row in others for i in row.leads],
        "pad": [p for row in others for p in row.pads if p is not None],
    }
    chosen = chosen.copy()
    for role in _GUESTS:
        comes, which = strange.random() < _GUEST_SHARE, strange.random()
        strangers = [i for i in dict.fromkeys(may_come[role]) if i.name not in at_home]
        if comes and strangers:
            chosen[role] = strangers[int(which * len(strangers))]
            if role == "harmony" and comping in _POWER:
                comping = "block"
    return chosen, comping


def _instruments(
    rng: np.random.Generator,
    strange: np.random.Generator,
    genre: Genre,
    singer: str,
    split: Split,
    wanted: tuple[str | None, str | None],
) -> tuple[dict[str, Instrument], str, bool]:
    """Instruments by role, how the harmony is played, and whether a combination is held out."""
    kept = _kept(genre.name, singer)
    use_kept = split == "test" and rng.random() < 0.5
    harmony = [c for c in genre.comping if c.instrument.name != kept]
    may_lead = genre.soloists if singer == "none" else genre.leads
    leads = [i for i in may_lead if i.name != kept]
    if use_kept:
        harmony = [c for c in genre.comping if c.instrument.name == kept] or harmony
        leads = [i for i in may_lead if i.name == kept] or leads
    if wanted[0]:
        harmony = [c for c in genre.comping if c.instrument.name == wanted[0]]
    if wanted[1]:
        leads = [i for i in may_lead if i.name == wanted[1]]
    if split != "test" and kept in wanted:
        raise ConfigError(
            f"{genre.name} × {singer} × {kept} is kept for evaluation: "
            "choose another instrument, or the split 'test'"
        )
    comping, lead = _pick(rng, harmony), _pick(rng, leads)
    kit, pad = _pick(rng, genre.kits), _pick(rng, genre.pads)
    chosen = {
        "harmony": comping.instrument,
        "bass": _pick(rng, genre.basses),
        "lead": lead,
        "drums": Instrument(kit.program, kit.name),
    }
    if pad is not None:
        chosen["pad"] = pad
    style = _pick(rng, comping.styles)
    if not use_kept and wanted == (None, None):
        chosen, style = _guests(strange, genre, chosen, style)
    return chosen, style, kept in (chosen["harmony"].name, chosen["lead"].name)


def _tempo(rng: np.random.Generator, genre: Genre, felt: Feeling) -> float:
    """Whole quarter notes a minute: two thirds of the genre's range by how stirring the mood is."""
    lowest, highest = genre.tempo
    share = rng.random() / 3 + (1 + felt.arousal) / 3
    return float(round(lowest + share * (highest - lowest)))


def _scale(rng: np.random.Generator, genre: Genre, felt: Feeling) -> str:
    weights = np.array([felt.liking(scale) for scale in genre.harmony])
    return str(rng.choice(list(genre.harmony), p=weights / weights.sum()))


def _sections(rng: np.random.Generator, genre: Genre, shape: Form, arousal: float) -> tuple[SectionPlan, ...]:
    """Energy, groove and fill of every section; the last chorus is the loudest."""
    tags = [section.tag for section in shape.sections]
    lift = float(rng.uniform(-0.08, 0.06)) + 0.22 * arousal
    bare = rng.random() < genre.drumless + 0.2 * max(0.0, -arousal)
    grooves = {tag: _groove(rng, genre, energy + 0.16 * arousal) for tag, energy in _ENERGY.items()}
    planned = []
    for index, section in enumerate(shape.sections):
        again = tags[:index].count(section.tag)
        energy = float(np.clip(_ENERGY[section.tag] + lift + 0.08 * again + rng.normal(0, 0.03), 0.15, 1.0))
        quiet = bare and again == 0 and energy < 0.62 and section.tag in ("intro", "verse", "outro")
        last = index + 1 == len(tags)
        fill = not quiet and not last and section.bars > 1 and rng.random() < genre.fills
        groove = None if quiet else grooves[section.tag]
        planned.append(SectionPlan(section, round(energy, 3), groove, bool(fill)))
    return tuple(planned)


def _groove(rng: np.random.Generator, genre: Genre, energy: float) -> Groove:
    level = (
        genre.grooves.low if energy < 0.5 else genre.grooves.middle if energy < 0.8 else genre.grooves.high
    )
    return _pick(rng, level)


def plan(
    seed: int,
    split: Split = "train",
    *,
    genre: str | None = None,
    singer: Singer | None = None,
    mood: str | None = None,
    theme: str | None = None,
    tempo: float | None = None,
    duration: float | None = None,
    key: Key | None = None,
    harmony: str | None = None,
    lead: str | None = None,
    durations: tuple[float, float] | None = None,
) -> SongPlan:
    """Decide a song.

    Args:
        seed: the same seed, split and overrides give the same plan in any process.
        genre, singer, mood, theme, tempo, duration, key: what is given isn't drawn.
        harmony, lead: names of instruments, such as 钢琴; one of the genre's. Where nobody sings, an
            instrument of the harmony may lead, too. Guests from other genres come only where neither
            is given.
        durations: seconds; the shortest and longest song when `duration` isn't given.
    Raises:
        ConfigError: an override names something unknown, or a combination that the split keeps out.
        RequestError: no form fills the duration.
    """
    rng, strange = generator(seed, "plan", split), generator(seed, "what is strange to the genre", split)
    _check("genre", genre, tuple(GENRES))
    _check("singer", singer, SINGERS)
    _check("theme", theme, THEMES)
    row = GENRES[genre or _pick(rng, list(GENRES))]
    _check(f"harmony of {row.name}", harmony, tuple(_choices(row)[0]))
    who = singer or _singer(rng)
    tunes = row.soloists if who == "none" else row.leads
    _check(f"lead of {row.name}", lead, tuple(dict.fromkeys(i.name for i in tunes)))
    mood = mood or _mood(strange, split, _pick(rng, row.moods))
    drawn_tempo = _tempo(rng, row, feeling(mood))
    drawn_key = Key(int(rng.integers(12)), _scale(rng, row, feeling(mood)))
    if key is not None and key.scale not in row.harmony:
        raise ConfigError(f"{row.name} is written in {', '.join(row.harmony)}, but the key {key} was asked")
    seconds = duration if duration is not None else draw_duration(rng, durations)
    drawn_theme = _pick(rng, _themes(row.name, mood))
    instruments, comping, held = _instruments(rng, strange, row, who, split, (harmony, lead))
    shape = form(seconds, tempo or drawn_tempo, rng=rng, instrumental=who == "none", density=row.density)
    return SongPlan(
        seed=seed,
        split=split,
        genre=row.name,
        mood=mood,
        theme=theme or drawn_theme,
        tempo=shape.fit.tempo,
        key=key or drawn_key,
        singer=who,
        duration=seconds,
        lead_in=shape.fit.lead_in,
        tail=shape.fit.tail,
        swing=round(float(rng.uniform(*row.swing)), 3),
        instruments=instruments,
        comping=comping,
        bass_style=_pick(rng, row.bass_styles),
        sections=_sections(rng, row, shape, feeling(mood).arousal),
        held_out=held,
    )


def plan_of(record: SongRecord) -> SongPlan | None:
    """The plan that a synthetic song was made from, drawn again from its seed.

    None for a song of another source, and for one that this version of the corpus wouldn't make.
    """
    found = drawn_as(record)
    return None if found is None else found[0]


def drawn_as(record: SongRecord) -> tuple[SongPlan, dict[str, Any]] | None:
    """The plan of `plan_of`, and what `plan` needs beside seed and split to draw it again."""
    if record.source != "synthetic" or record.seed is None or record.score is None:
        return None
    seconds = round(record.duration, 2)
    made_as = (record.genre, record.mood, record.theme, record.singer, record.tempo, record.instruments)
    # Songs of a given length were drawn between two limits, others from the corpus's own mix.
    ways: tuple[dict[str, Any], ...] = ({"durations": (seconds, seconds)}, {})
    for how in ways:
        drawn = plan(record.seed, record.split, **how)
        names = tuple(dict.fromkeys(i.name for i in drawn.instruments.values()))
        theme = None if drawn.singer == "none" else drawn.theme
        if (drawn.genre, drawn.mood, theme, drawn.singer, drawn.tempo, names) == made_as:
            return drawn, how
    logger.warning("the plan of song %s can't be drawn again: its written descriptions are used", record.id)
    return None
