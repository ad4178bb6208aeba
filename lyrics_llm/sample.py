"""Writes tokens with a causal language model under grammars, several songs at a time.

Rows go in step with one key-value cache; a token that its grammar forces costs no sampling, and
where all rows have forced tokens waiting they are fed together. Each row draws from its own
generator, so a song doesn't depend on the others of its batch but for rounding.
"""

import copy
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass, field
from typing import Generic, TypeVar

import torch
from transformers import DynamicCache, PreTrainedModel

from lyrics_llm.chains import Drafts
from lyrics_llm.constrain import Ahead, Choice, Ids
from lyrics_llm.limits import Limit

Written = TypeVar("Written")


@dataclass(frozen=True)
class Temper:
    """How bold the draws are."""

    temperature: float = 0.8
    min_p: float = 0.05  # tokens less likely than this share of the likeliest are never drawn


@dataclass
class _Row(Generic[Written]):
    grammar: Generator[Ids | Choice, int, Written] | Generator[Ids, int, Written]
    generator: torch.Generator
    ahead: Ahead | None = None  # told of lines that begin
    draft: list[int] = field(default_factory=list)  # of the line that is being written
    allowed: Ids | None = None  # what may come next
    good: Callable[[int], bool] | None = None  # a check of the drawn token
    waiting: list[int] = field(default_factory=list)  # chosen tokens that the model hasn't seen
    chosen: list[int] = field(default_factory=list)
    written: Written | None = None

    def begin(self) -> None:
        self._offer(next(self.grammar))
        self.force()

    def _offer(self, choice: Ids | Choice) -> None:
        """What the grammar allows next."""
        self.allowed, self.good = (choice.ids, choice.good) if isinstance(choice, Choice) else (choice, None)

    def choose(self, token: int) -> None:
        self.waiting.append(token)
        self.chosen.append(token)
        try:
            self._offer(self.grammar.send(token))
        except StopIteration as end:
            self.allowed, self.written = None, end.value

    def force(self) -> None:
        """Choose for as long as there is no choice."""
        while self.allowed is not None and len(self.allowed) == 1:
            self.choose(int(self.allowed[0]))

    @property
    def done(self) -> bool:
        return self.allowed is None


@torch.inference_mode()
def write(
    model: PreTrainedModel,
    prompts: Sequence[Sequence[int]],
    grammars: Sequence[Generator[Ids | Choice, int, Written] | Generator[Ids, int, Written]],
    generators: Sequence[torch.Generator],
    temper: Temper,
    pad: int,
    limit: Limit | None = None,
    aheads: Sequence[Ahead | None] | None = None,
    drafts: int = 1,
) -> tuple[list[Written | None], list[list[int]]]:
    """Continue each prompt under its grammar to the grammar's end.

    Args:
        prompts: ids of each row, of any length above 0.
        generators: on the CPU, one a row.
        limit: where it is reached, grammars that haven't ended give None.
        aheads: told of lines that begin, by the grammars.
        drafts: of each of these lines, so many are drawn to their ends, and the likeliest is written.
    Returns:
        (what each grammar made of its tokens, the tokens).
    """
    told = aheads or [None] * len(prompts)
    rows = [_Row(grammar, generator, ahead) for grammar, generator, ahead in zip(grammars, generators, told)]
    for row in rows:
        row.begin()
    longest = max(map(len, prompts))
    device = model.device
    ids = torch.tensor([[pad] * (longest - len(p)) + list(p) for p in prompts], device=device)
    mask = torch.tensor([[0] * (longest - len(p)) + [1] * len(p) for p in prompts], device=device)
    positions = (mask.cumsum(1) - 1).clamp(min=0)
    cache = DynamicCache(config=model.config)
    while not all(row.done for row in rows) and not (limit and limit.reached):
        seen = model(
            input_ids=ids,
            attention_mask=mask,
            position_ids=positions,
            past_key_values=cache,
            use_cache=True,
            logits_to_keep=1,
        )
        logits = seen.logits[:, -1].float().cpu()
        for number, (row, scores) in enumerate(zip(rows, logits)):
            if not row.done and not row.waiting:
                if drafts > 1 and row.ahead is not None and (line := row.ahead.take()):
                    state = (cache, mask[number], int(positions[number, -1]), number)
                    row.draft = _draft(model, state, scores, line, row.generator, temper, drafts)
                row.choose(_draw(scores, row, temper))
                if limit:
                    limit.spent += 1
                row.force()
        step = min((len(row.waiting) for row in rows if not row.done), default=0)
        if step == 0:
            break
        fed = [[row.waiting.pop(0) if row.waiting else pad for _ in range(step)] for row in rows]
        ids = torch.tensor(fed, device=device)
        mask = torch.cat([mask, mask.new_ones(ids.shape)], 1)
        positions = positions[:, -1:] + torch.arange(1, step + 1, device=device)
    return [row.written for row in rows], [row.chosen for row in rows]


def _draft(
    model: PreTrainedModel,
    state: tuple[DynamicCache, torch.Tensor, int, int],
    scores: torch.Tensor,
    line: Ahead,
    generator: torch.Generator,
    temper: Temper,
    drafts: int,
) -> list[int]:
    """Of several whole lines that the grammar lets pass, the likeliest with a new end; empty: it lets none.

    A line drawn token by token learns too late that its last character must rhyme, and that it copies
    another; among whole lines the model's own likelihood tells which one got there by itself. Half of them
    keep to the book's runs of characters, where these lead to such an end (`lyrics_llm.chains`); the
    stranger a line is to the book, the later it comes.

    Args:
        state: cache, mask (T,) and last position of a row, and its number.
        scores: (V,) of the line's first token.
        line: what the grammar knows of it.
    """
    cache, mask, position, number = state
    assert line.body is not None and line.last is not None, "a line that begins has both"
    count, body, last = line.count, torch.from_numpy(line.body), torch.from_numpy(line.last)
    own = copy.deepcopy(cache)
    own.batch_select_indices(torch.full((drafts,), number, device=mask.device))
    mask = mask.expand(drafts, -1)
    logits = scores.expand(drafts, -1)
    likelihood, drawing = torch.zeros(drafts), []
    chained = Drafts(line.ways, drafts // 2) if line.ways is not None else None
    for place in range(count):
        allowed = torch.zeros(logits.shape, dtype=torch.bool)
        allowed[:, last if place + 1 == count else body] = True
        for row, some in enumerate(chained.allowed() if chained else ()):
            allowed[row] = False
            allowed[row, torch.from_numpy(some)] = True
        chances = torch.softmax(logits.masked_fill(~allowed, -torch.inf) / max(temper.temperature, 1e-4), 1)
        likely = torch.where(chances >= temper.min_p * chances.amax(1, keepdim=True), chances, 0.0)
        drawn = torch.multinomial(likely, 1, generator=generator)[:, 0]
        if chained:
            chained.take(drawn[: chained.count].tolist())
        likelihood += logits.gather(1, drawn[:, None])[:, 0] - logits[:, body].logsumexp(1)
        drawing.append(drawn)
        if place + 1 < count:
            position += 1
            mask = torch.cat([mask, mask.new_ones(drafts, 1)], 1)
            seen = model(
                input_ids=drawn[:, None].to(mask.device),
                attention_mask=mask,
                position_ids=mask.new_full((drafts, 1), position),
                past_key_values=own,
                use_cache=True,
            )
            logits = seen.logits[:, -1].float().cpu()
    lines = torch.stack(drawing, 1)[likelihood.argsort(descending=True, stable=True)].tolist()
    strange = [line.strange(tokens) for tokens in lines]
    for degree in sorted(set(strange)):
        passed: list[int] = []
        for tokens in (tokens for tokens, own in zip(lines, strange) if own == degree):
            fits = line.fits(tokens)
            if fits == 2:
                return tokens
            passed = passed or (tokens if fits else [])
        if passed:
            return passed
    return []


def _draw(scores: torch.Tensor, row: _Row, temper: Temper) -> int:
    allowed = row.allowed
    assert allowed is not None and len(allowed), "a grammar always allows something until it ends"
    if row.draft:
        token = row.draft.pop(0)
        if token in allowed and (row.good is None or row.good(token)):
            return token
        row.draft = []  # only where a grammar's `fits` promised too much
    ids = torch.from_numpy(allowed)
    chances = torch.softmax(scores[ids] / max(temper.temperature, 1e-4), 0)
    likely = torch.where(chances >= temper.min_p * chances.max(), chances, 0.0)
    if row.good is None:
        return int(ids[torch.multinomial(likely, 1, generator=row.generator)])
    return _draw_good(ids, chances, likely, row)


def _draw_good(ids: torch.Tensor, chances: torch.Tensor, likely: torch.Tensor, row: _Row) -> int:
    """A draw that the grammar's check accepts: of the likely ones, else the likeliest of all."""
    assert row.good is not None, "only a grammar with a check comes here"
    while bool(likely.any()):
        place = int(torch.multinomial(likely, 1, generator=row.generator))
        if row.good(int(ids[place])):
            return int(ids[place])
        likely[place] = 0.0
    ranked = ids[chances.argsort(descending=True, stable=True)].tolist()
    return next((token for token in ranked if row.good(token)), ranked[0])
