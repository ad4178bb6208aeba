"""What is true of a synthetic song, in the words of musicians: the ground that descriptions stand on."""

from dataclasses import dataclass

from common.score import Score, Section
from common.theory import NOTE_NAMES, Chord
from corpus.plan import SongPlan, plan_of
from corpus.record import SongRecord

SECTION_NAMES = {
    "intro": "前奏", "verse": "主歌", "pre-chorus": "导歌", "chorus": "副歌", "bridge": "桥段",
    "interlude": "间奏", "outro": "尾奏",
}  # fmt: skip
COMPING = {
    "block": "柱式和弦", "broken": "分解和弦", "arpeggio": "琶音", "strum": "扫弦", "picking": "拨弦分解",
    "power": "强力和弦", "skank": "反拍切音", "boomchick": "低音与和弦交替", "stab": "短促和弦",
    "ring": "长音和弦", "scratch": "切音扫弦", "comp": "切分和弦",
}  # fmt: skip
_SCALE_NAMES = {
    "major": "大调", "minor": "小调", "dorian": "多利亚", "mixolydian": "混合利底亚", "gong": "宫调式",
    "yu": "羽调式", "blues": "布鲁斯",
}  # fmt: skip
_TONICS = {"C#": "升C", "Eb": "降E", "F#": "升F", "Ab": "降A", "Bb": "降B"}
# Semitones from a tonic up to the tonic of the major scale with the same notes: degrees are counted there.
_MAJOR_OF = {"major": 0, "gong": 0, "minor": 3, "yu": 3, "dorian": 10, "mixolydian": 5, "blues": 5}
_DEGREES = {0: "1", 2: "2", 4: "3", 5: "4", 7: "5", 9: "6", 11: "7"}
_TERMS = ((60, "广板"), (76, "柔板"), (108, "行板"), (120, "中板"), (168, "快板"), (1000, "急板"))
_PAD_ENERGY = 0.42  # below it the arrangement holds no pad


def tempo_term(bpm: float) -> str:
    """The traditional name of a tempo: `tempo_term(72) == "柔板"`."""
    return next(name for limit, name in _TERMS if bpm < limit)


def key_names(tonic: int, scale: str) -> tuple[str, ...]:
    """A key in Chinese and in letters: 降E大调, Eb大调."""
    note = NOTE_NAMES[tonic]
    return tuple(dict.fromkeys(name + _SCALE_NAMES[scale] for name in (_TONICS.get(note, note), note)))


@dataclass(frozen=True)
class Facts:
    """A plan and its score, asked."""

    plan: SongPlan
    score: Score

    @classmethod
    def of_record(cls, record: SongRecord) -> "Facts | None":
        """Of a song of the corpus; None where `plan_of` is."""
        planned = plan_of(record)
        return None if planned is None or record.score is None else cls(planned, record.score)

    @property
    def bpm(self) -> int:
        return round(self.score.tempo)

    @property
    def sung(self) -> bool:
        return self.plan.singer != "none"

    @property
    def instruments(self) -> dict[str, str]:
        """Role → Chinese name of what can be heard: no drums without a groove, no lead without its notes."""
        return self.playing(0.0, self.score.duration)

    def playing(self, start: float, stop: float) -> dict[str, str]:
        """`instruments` between two times, in seconds from the start of the song."""
        spans = self.score.section_spans()
        sections = [
            s for s, span in zip(self.score.sections, spans) if span.start < stop and span.end > start
        ]
        heard = dict.fromkeys(self.plan.instruments, True)
        heard["drums"] = any(section.groove for section in sections)
        heard["lead"] = any(n.start < stop and n.end > start for n in self.score.note_spans(sung=False))
        heard["pad"] = any(section.energy >= _PAD_ENERGY for section in sections)
        return {role: i.name for role, i in self.plan.instruments.items() if heard[role]}

    @property
    def form(self) -> tuple[str, ...]:
        return tuple(SECTION_NAMES[section.tag] for section in self.score.sections)

    @property
    def range(self) -> tuple[str, str] | None:
        """The lowest and highest sung note, as A3."""
        pitches = [note.pitch for section in self.score.sections for note in section.notes if note.sung]
        return (_note(min(pitches)), _note(max(pitches))) if pitches else None

    @property
    def build(self) -> str | None:
        """Whether the chorus plays louder than the verse."""
        verse, chorus = (
            [s.energy for s in self.score.sections if s.tag == tag] for tag in ("verse", "chorus")
        )
        if not verse or not chorus:
            return None
        return "副歌更饱满" if max(chorus) > min(verse) + 0.15 else "层次平稳"

    def chords(self, tag: str) -> tuple[Chord, ...]:
        """Up to four chords with which the first section of a tag begins."""
        section = next((s for s in self.score.sections if s.tag == tag), None)
        return _first_chords(section) if section else ()

    def degrees(self, tag: str) -> str | None:
        """These chords as degrees of the major scale with the key's notes, as 1-6-4-5; None if one isn't."""
        tonic = self.score.key.tonic + _MAJOR_OF[self.score.key.scale]
        found = [_DEGREES.get((chord.root - tonic) % 12) for chord in self.chords(tag)]
        return "-".join(d for d in found if d) if found and all(found) else None


def _first_chords(section: Section) -> tuple[Chord, ...]:
    return tuple(Chord.parse(change.symbol) for change in section.chords[:4] if change.symbol != "N")


def _note(pitch: int) -> str:
    return f"{NOTE_NAMES[pitch % 12]}{pitch // 12 - 1}"
