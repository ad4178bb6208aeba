"""A speaker: one audience, one song, and what each slot of a template may truly say of it."""

import re
from collections.abc import Callable

import numpy as np

from common.description import Audience
from corpus.attributes import tempo_class
from corpus.facts import COMPING, Facts, key_names, tempo_term
from corpus.phrases import pick
from corpus.speech import choose, choose_templates, forms, instrument_names, scene, timbres, words
from corpus.speech import read as read_lexicon

_SLOT = re.compile(r"<(\w+)>")
# What filling a slot can leave behind: a word said twice, 似 without its 的.
_SMOOTH = (("情绪情绪", "情绪"), ("的的", "的"), ("时候的时候", "时候"), ("似(?![的乎])", "似的"))
# What may be refused, and what in the names of the instruments that are heard forbids to say so.
_ABSENT = {
    "鼓": "鼓 打击", "钢琴": "钢琴 键", "吉他": "吉他", "小提琴": "提琴 弦乐", "萨克斯": "萨克斯",
    "二胡": "二胡", "合成器": "合成 铺底", "弦乐": "弦 提琴",
}  # fmt: skip
_SWING, _STRAIGHT = 0.1, 0.02  # above and below which an ear calls the off-beats swung and straight

_SOUNDING = ("声", "音色")  # names that end so don't stand in a frame: 钢琴声的声音
_NAME_SLOTS = {"harmname": "harmony", "bassname": "bass", "drumname": "drums", "leadname": "lead"}


class Speaker:
    """Says templates about a song. A slot whose answer isn't known can't be said."""

    def __init__(self, facts: Facts, audience: Audience, rng: np.random.Generator, held_out: bool):
        self.facts, self.audience, self.rng, self.held_out = facts, audience, rng, held_out
        self.slots: dict[str, Callable[[], str]] = {}
        self._named()
        self._structure()
        self._instruments()
        self._scenes()

    def can_say(self, template: str) -> bool:
        return all(slot in self.slots for slot in _SLOT.findall(template))

    def say(self, template: str) -> str:
        """Fill the slots; another draw when a word came twice, as a theme named like the mood."""
        text = ""
        for _ in range(6):
            parts = [self.slots[slot]() for slot in _SLOT.findall(template)]
            filled = iter(parts)
            text = _SLOT.sub(lambda _: next(filled), template)  # noqa: B023 - used at once
            if not any(a in b or b in a for i, a in enumerate(parts) for b in parts[i + 1 :]):
                break
        for wrong, right in _SMOOTH:
            text = re.sub(wrong, right, text)
        return text

    def form(self, kind: str, value: str) -> str:
        return choose(self.rng, forms(kind, value, self.audience), self.held_out)

    # ---- slots ---------------------------------------------------------------------------

    def _named(self) -> None:
        plan, facts = self.facts.plan, self.facts
        speed = tempo_class(facts.bpm)
        self.slots |= {
            "genre": lambda: self.form("genre", plan.genre),
            "mood": lambda: self.form("mood", plan.mood),
            "tempo": lambda: self.form("tempo", speed),
            "slowfast": lambda: {"slow": "慢", "medium": "中速的", "fast": "快"}[speed],
            "singer": lambda: self.form("singer", plan.singer),
            "bpm": lambda: str(facts.bpm),
            "term": lambda: tempo_term(facts.bpm),
            "key": lambda: pick(self.rng, key_names(facts.score.key.tonic, facts.score.key.scale)),
            "scale": lambda: self.form("scale", facts.score.key.scale),
        }
        self.slots["voice" if facts.sung else "silent"] = self.slots["singer"]
        if facts.sung:
            self.slots["theme"] = lambda: self.form("theme", plan.theme)

    def _structure(self) -> None:
        facts = self.facts
        known: dict[str, str | None] = {
            "metre": "四四拍" if facts.score.metre == (4, 4) else None,
            "swing": self._swing(),
            "chords": "-".join(map(str, facts.chords("chorus"))),
            "versechords": "-".join(map(str, facts.chords("verse"))),
            "degrees": facts.degrees("chorus"),
            "form": "-".join(facts.form),
            "bars": str(facts.score.bars),
            "build": facts.build,
            "range": "到".join(facts.range) if facts.range else None,
            "top": facts.range[1] if facts.range else None,
            "comping": COMPING.get(facts.plan.comping),
            "repeats": _repeats(facts.form.count("副歌")),
        }
        self.slots |= {name: _constant(text) for name, text in known.items() if text}
        parts = [part for part in ("前奏", "间奏", "桥段", "尾奏", "导歌") if part in facts.form]
        if parts:
            self.slots["part"] = lambda: pick(self.rng, ("有", "带", "设", "含")) + pick(self.rng, parts)

    def _swing(self) -> str | None:
        swing = self.facts.score.swing
        return "带摇摆感" if swing > _SWING else "平直的律动" if swing < _STRAIGHT else None

    def _instruments(self) -> None:
        heard = self.facts.instruments
        if heard.get("lead") == heard["harmony"]:
            del heard["harmony"]  # who has the tune also accompanies it, and is named once
        for role, name in heard.items():
            self.slots[role] = lambda role=role, name=name: self._framed(role, name)  # type: ignore[misc]
        for slot, role in _NAME_SLOTS.items():
            if role in heard:
                self.slots[slot] = lambda role=role: self._name(heard[role])  # type: ignore[misc]
        absent = _absent(list(heard.values()))
        if absent:
            self.slots["absent"] = lambda: pick(self.rng, ("不要", "没有", "不用")) + pick(self.rng, absent)
        roles = ("harmony", "lead", "pad", "drums")
        salient = list(dict.fromkeys(heard[role] for role in roles if role in heard))
        if not salient:
            return
        order = [salient[i] for i in self.rng.permutation(len(salient))]
        self.slots["name"] = lambda: self._name(order[0])
        self.slots["instruments"] = lambda: "、".join(self._name(name) for name in order)
        if len(order) > 1:
            self.slots["name2"] = lambda: self._name(order[1])
        if timbres(order[0]):
            self.slots["timbre"] = lambda: pick(self.rng, timbres(order[0]))

    def _name(self, name: str) -> str:
        return choose(self.rng, instrument_names(name), self.held_out)

    def _framed(self, role: str, name: str) -> str:
        row = read_lexicon("speech")["frame"][role]
        frames = words(row["both"]) + words(row["pro" if self.audience is Audience.PROFESSIONAL else "ama"])
        frame = pick(self.rng, choose_templates(frames, self.held_out))
        named = self._name(name)
        if frame != "<x>" and named.endswith(_SOUNDING):
            named = name
        return frame.replace("<x>", named)

    def _scenes(self) -> None:
        for kind in ("feel", "like", "when", "use"):
            options = scene(self.facts.plan.mood, kind)
            if options:
                self.slots[kind] = lambda options=options: choose(self.rng, options, self.held_out)  # type: ignore[misc]


def _absent(heard: list[str]) -> list[str]:
    """Kinds of instruments that can't be heard."""
    return [
        kind for kind, words in _ABSENT.items() if not any(w in name for w in words.split() for name in heard)
    ]


def _constant(text: str) -> Callable[[], str]:
    return lambda: text


def _repeats(choruses: int) -> str | None:
    names = {1: "副歌出现一次", 2: "副歌出现两次", 3: "副歌出现三次", 4: "副歌出现四次"}
    return names.get(choruses)
