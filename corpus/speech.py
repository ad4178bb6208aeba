"""How people name the attributes of a song, and which of these names are kept for evaluation.

The forms and templates are in `corpus/lexicon/speech.yaml` and `templates.yaml`. About 15 % of them are held
out: they are said only when a caller asks for held-out phrasings, so that a model can be tested on words that
its training never showed it.
"""

from functools import cache
from importlib import resources
from math import ceil
from typing import Any

import numpy as np
import yaml

from common.description import Audience
from common.seeds import derive_seed
from corpus.phrases import pick

HELD_OUT_SHARE = 0.15
_REGISTER = {Audience.PROFESSIONAL: "pro", Audience.AMATEUR: "ama"}
_NAMED = ("mood", "genre", "tempo", "singer", "theme", "scale")  # attributes with forms of both registers
SCENES = ("feel", "like", "when", "use")
_SMALL = 6  # shorter lists keep a form out only by chance, so that the share stays


@cache
def read(name: str) -> dict[str, Any]:
    """A file of the lexicon."""
    text = resources.files("corpus.lexicon").joinpath(f"{name}.yaml").read_text(encoding="utf-8")
    return yaml.load(text, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))


@cache
def forms(kind: str, value: str, audience: Audience) -> tuple[str, ...]:
    """Every way in which an audience names a value: `forms("singer", "female", Audience.AMATEUR)`."""
    return tuple(dict.fromkeys(_register(kind, value, audience) + more_forms(kind, value)))


@cache
def more_forms(kind: str, value: str) -> tuple[str, ...]:
    """Further names that both audiences say; many kinds have none."""
    return _words(read("speech")[kind].get(value, {}).get("more", ""))


def _register(kind: str, value: str, audience: Audience) -> tuple[str, ...]:
    """The names of a value in both registers and in that of an audience."""
    row = read("speech")[kind].get(value)
    if row is None:
        return (value,)
    return tuple(dict.fromkeys(_words(row["both"]) + _words(row[_REGISTER[audience]])))


def instrument_names(name: str) -> tuple[str, ...]:
    """The names of an instrument, its own first."""
    return (name, *_words(read("speech")["instrument"].get(name, "")))


@cache
def hints(kind: str) -> dict[str, tuple[str, ...]]:
    """By label of a theme, mood, genre, singer or pace: what betrays it without naming it."""
    return {label: tuple(text.split()) for label, text in read(f"hints/{kind}").items()}


@cache
def scene(mood: str, kind: str) -> tuple[str, ...]:
    """What a mood feels like (`feel`), resembles (`like`), when to hear it (`when`), its `use`."""
    for row in read("speech")["scene"].values():
        if mood in _words(row["moods"]):
            return _words(row[kind])
    return ()


@cache
def timbres(name: str) -> tuple[str, ...]:
    """Words for the sound of an instrument; of the longest key that its name contains."""
    table = read("speech")["timbre"]
    keys = sorted((key for key in table if key in name), key=len)
    return _words(table[keys[-1]]) if keys else ()


@cache
def answers(audience: Audience) -> dict[str, dict[str, tuple[str, ...]]]:
    """Templates of an audience's answers by dimension and length."""
    table = read("templates")[audience.value]
    return {d: {length: _lines(text) for length, text in rows.items()} for d, rows in table.items()}


def _words(text: str) -> tuple[str, ...]:
    return tuple(word.replace("_", " ") for word in text.split())


def _lines(text: str) -> tuple[str, ...]:
    return tuple(line.strip().replace("_", " ") for line in text.splitlines() if line.strip())


lines, words = _lines, _words


# ---- what is kept for evaluation -------------------------------------------------------------


@cache
def held_out_forms() -> frozenset[str]:
    """The names that only held-out phrasings say: no attribute's own name, no part of another name.

    Of `more` they are drawn apart, so that those of the other names stay what they were: models are trained
    on from weights that have seen the rest. So no name may be added that contains one of them.
    """
    lists = [_register(k, v, a) for k in _NAMED for v in read("speech")[k] for a in Audience]
    lists += [instrument_names(name) for name in read("speech")["instrument"]]
    lists += [_words(row[kind]) for row in read("speech")["scene"].values() for kind in SCENES]
    more = [names for k in _NAMED for v in read("speech")[k] if (names := more_forms(k, v))]
    said = "\n".join({form for names in lists + more for form in names} | set(_frames_said()))
    firsts = {names[0] for names in lists}
    chosen: set[str] = set()
    for names in lists + more:
        free = [n for n in names if n not in firsts and len(n) > 1]
        alone = [n for n in free if said.count(n) == 1]
        chosen |= _drawn(tuple(alone), len(names))
    return frozenset(chosen)


def _frames_said() -> list[str]:
    """Every frame around every name of an instrument."""
    names = [n for name in read("speech")["instrument"] for n in instrument_names(name)]
    frames = {f for row in read("speech")["frame"].values() for r in row.values() for f in _words(r)}
    return [frame.replace("<x>", name) for frame in frames if frame != "<x>" for name in names]


def _drawn(names: tuple[str, ...], size: int) -> set[str]:
    """About 15 % of a list, told by the names alone."""
    ranked = sorted(names, key=lambda name: derive_seed(0, "held-out phrasing", name))
    if size >= _SMALL:
        return set(ranked[: ceil(HELD_OUT_SHARE * size - 0.5) or 1])
    return {n for n in ranked[:1] if derive_seed(0, "held-out alias", n) % 100 < 100 * HELD_OUT_SHARE * size}


@cache
def held_out_templates(templates: tuple[str, ...]) -> frozenset[str]:
    """The templates of a list that only held-out phrasings use; of a list of three or less, none."""
    if len(templates) < 4:
        return frozenset()
    ranked = sorted(templates, key=lambda text: derive_seed(0, "held-out template", text))
    return frozenset(ranked[: max(1, round(HELD_OUT_SHARE * len(templates)))])


def choose(rng: np.random.Generator, names: tuple[str, ...], held_out: bool) -> str:
    """One of the names: a held-out one, if they are asked for and there is any, else one of the others."""
    kept = held_out_forms()
    wanted = [name for name in names if (name in kept) == held_out]
    return pick(rng, wanted or [name for name in names if name not in kept])


def choose_templates(templates: tuple[str, ...], held_out: bool) -> tuple[str, ...]:
    """The templates to use: the held-out ones or the others."""
    kept = held_out_templates(templates)
    wanted = tuple(t for t in templates if (t in kept) == held_out)
    return wanted or templates
