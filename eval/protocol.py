"""The paper's experiment as a list of prompts: 50 unseen songs, told by both audiences, 1,000 references.

    python -m eval.protocol --manifest data/corpus/pool/manifest.jsonl --out runs/mudit
    python -m app.batch runs/mudit/prompts.jsonl songs      # or any other system
    python -m eval.run --protocol mudit --songs songs --prompts runs/mudit/prompts.jsonl \
        --references data/corpus/pool/manifest.jsonl --out runs/mudit/scores

Conventions: of each song all that one audience says of it is joined in a random order and cut at
random into pieces of at most 120 characters, one of which is the prompt; cuts fall between
sentences' parts where there are any. Professional and amateur prompts are drawn apart and scored
apart, then averaged. The songs of the prompts aren't among the references.

Source: Wang 2025 (MuDiT/MuSiT), section 4.2. How the paper cuts isn't said.
"""

import json
import logging
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from common import config as configs
from common.description import Audience
from common.errors import ConfigError, ManifestError, run_command
from common.seeds import generator
from corpus import manifest
from corpus.record import SongRecord
from eval.prompts import Prompt

logger = logging.getLogger(__name__)

SONGS, REFERENCES, LONGEST = 50, 1000, 120


def pieces(text: str, longest: int = LONGEST) -> list[str]:
    """A text in pieces of at most `longest` characters, cut between its parts where that is possible."""
    out: list[str] = []
    for part in re.findall(r"[^，。；！？,;!?]+[，。；！？,;!?]*", text):
        for start in range(0, len(part), longest):
            chunk = part[start : start + longest]
            if out and len(out[-1]) + len(chunk) <= longest:
                out[-1] += chunk
            else:
                out.append(chunk)
    return [p.strip("，。；,; ") for p in out if any(c.isalnum() for c in p)]


def cut(record: SongRecord, audience: Audience, rng: np.random.Generator, longest: int = LONGEST) -> str:
    """A prompt: one random piece of what an audience says of a song. Raises ManifestError for silence."""
    said = [d.text.strip("。，") for d in record.descriptions if d.audience == audience]
    if not said:
        raise ManifestError(f"song {record.id} has no {audience} description")
    joined = "，".join(said[i] for i in rng.permutation(len(said)))
    rest = pieces(joined, longest)
    return rest[int(rng.integers(len(rest)))]


@dataclass(frozen=True)
class Draw:
    """Prompts of the protocol, and the songs that are the references."""

    prompts: tuple[Prompt, ...]
    references: tuple[str, ...]  # ids


def draw(
    records: Sequence[SongRecord], songs: int = SONGS, references: int = REFERENCES, seed: int = 0
) -> Draw:
    """Prompts of both audiences for random songs, and other songs as references.

    Raises:
        ManifestError: no song is told by both audiences.
    """
    both = [r for r in records if {d.audience for d in r.descriptions} >= set(Audience)]
    if not both:
        raise ManifestError("the protocol needs songs that both audiences describe, but there are none")
    order = generator(seed, "mudit").permutation(len(both))
    chosen = [both[i] for i in order[:songs]]
    prompts = tuple(
        Prompt(f"{r.id}-{a}", cut(r, a, generator(seed, "cut", r.id, a)), a.value, r.id)
        for r in chosen
        for a in Audience
    )
    taken = {r.id for r in chosen}
    rest = [r.id for r in records if r.id not in taken and r.audio is not None]
    kept = generator(seed, "references").permutation(len(rest))[:references]
    return Draw(prompts, tuple(rest[i] for i in sorted(kept)))


def shortfalls(drawn: Draw) -> list[str]:
    """What the paper's experiment has and this draw hasn't, in words."""
    out = []
    for audience in Audience:
        count = sum(p.audience == audience for p in drawn.prompts)
        if count < SONGS:
            out.append(f"{count} {audience} prompts where the paper has {SONGS}")
    if len(drawn.references) < REFERENCES:
        out.append(f"{len(drawn.references)} reference songs where the paper has {REFERENCES}")
    longest = max((len(p.text) for p in drawn.prompts), default=0)
    if longest > LONGEST:
        out.append(f"a prompt of {longest} characters where the paper has at most {LONGEST}")
    return out


@dataclass(frozen=True)
class Settings:
    """What to draw from."""

    manifest: str  # songs that training never saw, described by both audiences
    out: str  # a folder for prompts.jsonl and references.txt
    songs: int = SONGS
    references: int = REFERENCES
    seed: int = 0

    def __post_init__(self) -> None:
        for name, least in (("songs", 1), ("references", 0)):
            if getattr(self, name) < least:
                raise ConfigError(f"{name} is {least} or more, but got {getattr(self, name)}")


def main() -> int:
    """Write the prompts."""
    logging.basicConfig(level=logging.WARNING, format="%(message)s")
    settings = configs.parse(Settings)
    drawn = draw(manifest.read(settings.manifest), settings.songs, settings.references, settings.seed)
    out = Path(settings.out)
    out.mkdir(parents=True, exist_ok=True)
    # As app.batch reads them: the reference follows from the id.
    rows = [{"id": p.id, "description": p.text, "audience": p.audience} for p in drawn.prompts]
    lines = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
    (out / "prompts.jsonl").write_text(lines, encoding="utf-8")
    (out / "references.txt").write_text("".join(f"{r}\n" for r in drawn.references), encoding="utf-8")
    print(
        f"{len(drawn.prompts)} prompts of {len(drawn.prompts) // 2} songs, {len(drawn.references)} references"
    )
    for missing in shortfalls(drawn):
        print(f"warning: {missing}")
    return 0


if __name__ == "__main__":
    run_command(main)
