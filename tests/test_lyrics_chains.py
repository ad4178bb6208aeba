"""Chains of the book's characters: every way is one, none is missed, and drafts keep to them."""

import itertools

import numpy as np
import pytest

from corpus.words import clause_runs, strangeness
from lyrics_llm import chains
from lyrics_llm.chains import Chains, Drafts

CLAUSES = ("我等天亮", "我等你来", "你来看我", "天亮了", "看海")
LETTERS = sorted(set("".join(CLAUSES)))
IDS = {letter: 10 + i for i, letter in enumerate(LETTERS)}
EVERYTHING = np.array(sorted(IDS.values()))


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> Chains:
    runs = {f"^{c}$"[i : i + 3] for c in CLAUSES for i in range(len(c))}
    monkeypatch.setattr(chains, "clause_runs", lambda theme: frozenset(runs))
    return Chains(IDS)


def lines(count: int) -> set[str]:
    """All lines whose runs of three stand in a clause, by trying them all."""
    runs = {f"^{c}$"[i : i + 3] for c in CLAUSES for i in range(len(c))}
    every = ("".join(letters) for letters in itertools.product(LETTERS, repeat=count))
    return {line for line in every if all(f"^{line}$"[i : i + 3] in runs for i in range(count))}


def walked(found: Chains, count: int, body: np.ndarray, last: np.ndarray) -> set[str]:
    """All lines to which the chain's states lead."""
    ways = found.ways(count, body, last)
    if ways is None:
        return set()
    paths = [[state] for state in ways.first.tolist()]
    for place in range(1, count):
        paths = [[*path, state] for path in paths for state in ways.after(path[-1], place).tolist()]
        assert len(paths) >= len(ways.first), "no way comes to a dead end"
    letter = {i: name for name, i in IDS.items()}
    return {"".join(letter[int(t)] for t in ways.tokens(np.array(path))) for path in paths}


@pytest.mark.parametrize("count", [1, 2, 3, 4, 5])
def test_the_ways_are_all_lines_of_the_books_runs(small: Chains, count: int):
    assert walked(small, count, EVERYTHING, EVERYTHING) == lines(count)
    assert count != 4 or set(CLAUSES[:3]) <= lines(4)


def test_a_line_ends_in_the_asked_characters_and_has_no_others(small: Chains):
    last = np.array([IDS["来"], IDS["亮"]])
    expected = {line for line in lines(4) if line[-1] in "来亮"}
    assert walked(small, 4, EVERYTHING, last) == expected != set()
    without = np.array([i for name, i in IDS.items() if name != "等"])
    assert walked(small, 4, without, EVERYTHING) == {line for line in lines(4) if "等" not in line[:-1]}
    assert small.ways(4, EVERYTHING, np.array([IDS["海"]])) is None


def test_drafts_keep_to_their_chains(small: Chains):
    ways = small.ways(4, EVERYTHING, EVERYTHING)
    assert ways is not None
    drafts = Drafts(ways, 3)
    rng = np.random.default_rng(0)
    letter = {i: name for name, i in IDS.items()}
    written = [""] * 3
    for _ in range(4):
        drawn = [int(rng.choice(some)) for some in drafts.allowed()]
        drafts.take(drawn)
        written = [line + letter[token] for line, token in zip(written, drawn)]
    assert set(written) <= lines(4)


def test_the_books_chains_lead_to_its_rhymes():
    from lyrics_llm.constrain import Words
    from lyrics_llm.tokens import Vocabulary, build

    words = Words(Vocabulary(build()))
    for track in ("江阳", "一七", "言前"):
        last = words.rhyming[track]
        ways = words.chains(None).ways(5, words.han, last)
        assert ways is not None
        drafts, line = Drafts(ways, 1), ""
        rng = np.random.default_rng(1)
        for _ in range(5):
            token = int(rng.choice(drafts.allowed()[0]))
            drafts.take([token])
            line += words.names[token]
        assert strangeness(line) == 0 and token in last
    assert "^我" in {run[:2] for run in clause_runs()}


def test_a_theme_speaks_in_its_own_way():
    own, all_of_them = clause_runs("江湖"), clause_runs()
    assert own < all_of_them and "一壶酒" in own and "一壶酒" not in clause_runs("宠物")
