"""Whole descriptions as users type them: a flowing sentence, a list of wishes in any order, or in short."""

import re
from collections.abc import Sequence

from corpus.attributes import Attributes
from corpus.phrases import pick
from corpus.speakers import Speaker
from corpus.speech import choose_templates, lines, read, words

_OPTIONAL = re.compile(r"\[([^\[\]]*)\]")
_SEPARATORS = ("，", "，", "，", "、", " ", ", ", ",", "，")
_SHARES = (0.10, 0.16, 0.20, 0.20, 0.14, 0.10, 0.06, 0.04)  # of lists of one, two, … eight wishes
# How often each attribute is wished for, beside the others.
_WISHES = {
    "genre": 3.0, "mood": 3.0, "tempo": 2.5, "singer": 2.5, "instrument": 3.0, "theme": 2.5, "key": 1.5,
    "harmony": 0.6, "form": 0.5, "use": 0.5, "feel": 0.8, "like": 0.7, "when": 0.9, "without": 0.25,
}  # fmt: skip
# What a song is called in short, by kind and value; other values are said as they are named.
_SHORT: dict[str, dict[str, str]] = {
    "tempo_class": {"slow": "慢歌", "medium": "中速", "fast": "快歌"},
    "singer": {"female": "女声", "male": "男声", "child": "童声", "none": "纯音乐"},
}


def in_short(found: Attributes) -> str:
    """Genre, mood, pace, singer and instruments in one word each, which `attributes` reads back.

    `in_short({"genre": "民谣", "singer": "male"}) == "民谣，男声"`; empty where none of them is known.
    """
    kinds = ("genre", "mood", "tempo_class", "singer")
    said = [_SHORT.get(kind, {}).get(value, value) for kind in kinds if (value := str(found.get(kind, "")))]
    return "，".join([*said, *found.get("instruments", ())])


def compose_prompt(speaker: Speaker) -> str:
    """A description of the speaker's song, true of it."""
    text = _flow(speaker) if speaker.rng.random() < 0.45 else _list(speaker)
    return text if text else _list(speaker)


def _flow(speaker: Speaker) -> str:
    """One sentence, its optional parts kept or dropped."""
    table = read("templates")["prompts"][speaker.audience.value]
    usable = []
    for template in choose_templates(lines(table["flow"]), speaker.held_out):
        chosen = _OPTIONAL.sub(lambda m: m[1] if _kept(speaker, m[1]) else "", template)
        if speaker.can_say(chosen):
            usable.append(chosen)
    if not usable:
        return ""
    text = speaker.say(pick(speaker.rng, usable))
    if text.startswith("一首") and speaker.rng.random() < 0.5:
        text = pick(speaker.rng, lines(table["lead"])) + text
    return _end(speaker, text)


def _kept(speaker: Speaker, part: str) -> bool:
    return speaker.can_say(part) and bool(speaker.rng.random() < 0.6)


def _list(speaker: Speaker) -> str:
    """Wishes in any order behind one kind of separator, sometimes after 帮我写一首."""
    rng, table = speaker.rng, read("templates")["prompts"][speaker.audience.value]
    clauses = {kind: [c for c in words(text) if speaker.can_say(c)] for kind, text in table["clause"].items()}
    kinds = [kind for kind, options in clauses.items() if options]
    weights = [_WISHES[kind] for kind in kinds]
    count = min(1 + int(rng.choice(len(_SHARES), p=_SHARES)), len(kinds))
    total = sum(weights)
    drawn = rng.choice(len(kinds), size=count, replace=False, p=[w / total for w in weights])
    wishes = _distinct([speaker.say(pick(rng, clauses[kinds[i]])) for i in drawn])
    filler = pick(rng, lines(table["filler"])) if rng.random() < 0.3 else ""
    return _end(speaker, filler + pick(rng, _SEPARATORS).join(wishes))


def _distinct(wishes: Sequence[str]) -> list[str]:
    """Each wish that no other one says too."""
    once = list(dict.fromkeys(wishes))
    return [w for w in once if not any(w in other for other in once if other != w)]


def _end(speaker: Speaker, text: str) -> str:
    return text + ("。" if speaker.rng.random() < 0.2 else "")
