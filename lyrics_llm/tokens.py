"""The vocabulary: characters, bytes for characters it lacks, and the words of plan, form and score.

A token is a string; everything that isn't a character stands in angle brackets: `<genre:民谣>`,
`<line:7>`, `<note:12:6>`. The tokenizer is a plain Hugging Face one (BPE without merges, bytes
for what is unknown), saved beside the model.
"""

import string
from collections.abc import Iterable, Sequence
from functools import cached_property
from importlib import resources
from pathlib import Path

from transformers import PreTrainedTokenizerFast

from common.errors import CheckpointError
from common.lyrics import TAGS
from common.pinyin import is_han
from common.rhyme import GROUPS
from common.score import DRUMS
from common.theory import CHORDS, SCALES
from corpus.genres import GENRES
from corpus.plan import SINGERS
from corpus.words import THEMES

PAD, BEGIN, END = "<pad>", "<s>", "</s>"
PLAN, LYRICS, SCORE = "<plan>", "<lyrics>", "<score>"  # what comes next
AGAIN, BAR, LIKE, HELD, PLAYED, NEXT = "<again>", "<bar>", "<like:{}>", "<held>", "<played>", "<next>"
NO_DRUMS, FILL, NO_FILL, FREE = "<nodrums>", "<fill>", "<nofill>", "<rhyme:->"

TEMPO_STEP = 4  # quarter notes a minute
TEMPI = tuple(range(40, 221, TEMPO_STEP))
SWINGS = tuple(round(0.05 * i, 2) for i in range(9))
LONGEST_LINE = 32  # syllables
MOST_LIKE = 16  # lines back
# Starts within a bar and lengths, in ticks: all sixteenths and all triplet eighths.
STARTS = tuple(t for t in range(48) if t % 3 == 0 or t % 4 == 0)
LENGTHS = (3, 4, 6, 8, 9, 12, 15, 16, 18, 20, 21, 24, 27, 30, 32, 33, 36, 40, 42, 44, 45, 48, 60, 72, 84, 96)
PITCHES = tuple(range(-24, 43))  # semitones above the tonic of the singer's register
ENERGIES = tuple(range(21))  # twentieths


def _grooves(drum: str) -> list[str]:
    """The bars of one drum in all grooves of the corpus, in a fixed order."""
    bars = {
        getattr(groove, drum)
        for genre in GENRES.values()
        for level in (genre.grooves.low, genre.grooves.middle, genre.grooves.high)
        for groove in level
    }
    return sorted(bars)


def _instruments(role: str) -> list[str]:
    return sorted({name for genre in GENRES.values() for name in genre.players[role]})


# The fields of a plan in their order, with all their values.
PLAN_FIELDS: dict[str, tuple[object, ...]] = {
    "genre": tuple(GENRES),
    "mood": tuple(sorted({mood for genre in GENRES.values() for mood in genre.moods})),
    "theme": THEMES,
    "singer": SINGERS,
    "tempo": TEMPI,
    "tonic": tuple(range(12)),
    "scale": tuple(SCALES),
    "swing": SWINGS,
    "harmony": tuple(_instruments("harmony")),
    "lead": tuple(_instruments("lead")),
}


def words() -> list[str]:
    """Every token that isn't a character or a byte, in a fixed order."""
    out = [
        PAD,
        BEGIN,
        END,
        PLAN,
        LYRICS,
        SCORE,
        AGAIN,
        BAR,
        HELD,
        PLAYED,
        NEXT,
        NO_DRUMS,
        FILL,
        NO_FILL,
        FREE,
    ]
    out += [f"<{name}:{value}>" for name, values in PLAN_FIELDS.items() for value in values]
    out += [f"<section:{tag}>" for tag in TAGS]
    out += [f"<bars:{n}>" for n in range(1, 65)]
    out += [f"<line:{n}>" for n in range(1, LONGEST_LINE + 1)]
    out += [f"<rhyme:{name}>" for name in GROUPS]
    out += [LIKE.format(n) for n in range(1, MOST_LIKE + 1)]
    out += [f"<energy:{n}>" for n in ENERGIES]
    out += [f"<{drum}:{bar}>" for drum in DRUMS for bar in _grooves(drum)]
    out += ["<nochord>", *(f"<chord:{root}:{quality}>" for root in range(12) for quality in CHORDS)]
    out += [f"<bass:{n}>" for n in range(12)]
    out += [f"<at:{tick}>" for tick in STARTS]
    out += [f"<note:{start}:{length}>" for start in STARTS for length in LENGTHS if _on_grid(start, length)]
    out += [f"<pitch:{n}>" for n in PITCHES]
    return out


def _from_tables(word: str) -> bool:
    return word[1:].split(":")[0] in (*PLAN_FIELDS, *DRUMS)


def _on_grid(start: int, length: int) -> bool:
    """Sixteenths with sixteenths, triplets with triplets."""
    return (start % 3 == 0 and length % 3 == 0) or (start % 4 == 0 and length % 4 == 0)


def corpus_characters() -> list[str]:
    """The characters that the corpus is written with, in code order."""
    found = {*string.ascii_letters, *string.digits, *" ,.!?:;#&+-'/()、，。！？：；“”…·～（）"}
    for root in (resources.files("corpus"), resources.files("corpus") / "lexicon"):
        for entry in root.iterdir():
            if entry.name.endswith((".py", ".yaml")):
                found |= {c for c in entry.read_text(encoding="utf-8") if is_han(c)}
    return sorted(found)


def build(characters: Iterable[str] | None = None) -> PreTrainedTokenizerFast:
    """A tokenizer of the words above, 256 bytes and the characters."""
    from tokenizers import AddedToken, Tokenizer, decoders, models

    listed = sorted(set(corpus_characters() if characters is None else characters))
    names = [*words(), *(f"<0x{byte:02X}>" for byte in range(256)), *listed]
    model = models.BPE(vocab={name: i for i, name in enumerate(names)}, merges=[], byte_fallback=True)
    tokenizer = Tokenizer(model)
    tokenizer.decoder = decoders.Sequence([decoders.ByteFallback(), decoders.Fuse()])
    tokenizer.add_special_tokens([AddedToken(name, special=True, normalized=False) for name in words()])
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, pad_token=PAD, bos_token=BEGIN, eos_token=END)


class Vocabulary:
    """Ids of tokens, and sets of ids that a grammar asks for."""

    def __init__(self, tokenizer: PreTrainedTokenizerFast) -> None:
        self.tokenizer = tokenizer
        self.ids: dict[str, int] = tokenizer.get_vocab()
        self.names = [name for name, _ in sorted(self.ids.items(), key=lambda item: item[1])]

    @classmethod
    def load(cls, folder: str | Path) -> "Vocabulary":
        """Raises CheckpointError when the folder holds no tokenizer of ours."""
        try:
            found = cls(PreTrainedTokenizerFast.from_pretrained(str(folder)))
        except (OSError, ValueError) as error:
            reason = " ".join(str(error).split())  # transformers' has several lines
            raise CheckpointError(f"{folder} holds no tokenizer: {reason}") from error
        # The tables of the corpus may have grown since (genres, grooves, themes): only the grammar's
        # own words have to be there.
        missing = [word for word in words() if word not in found.ids and not _from_tables(word)]
        if missing:
            raise CheckpointError(f"the lyric model in {folder} doesn't know {missing[0]}: train it again")
        return found

    def __len__(self) -> int:
        return len(self.names)

    def encode(self, tokens: Sequence[str]) -> list[int]:
        return [self.ids[token] for token in tokens]

    def characters(self, text: str) -> list[str]:
        """The tokens of plain text: a character each, or its bytes where it has none."""
        out: list[str] = []
        for character in text:
            known = character in self.ids
            out += [character] if known else [f"<0x{byte:02X}>" for byte in character.encode()]
        return out

    def matching(self, prefix: str) -> list[int]:
        """Ids of all tokens that begin with a prefix, such as `<chord:`."""
        return [i for i, name in enumerate(self.names) if name.startswith(prefix)]

    @cached_property
    def han(self) -> list[int]:
        return [i for i, name in enumerate(self.names) if len(name) == 1 and is_han(name)]
