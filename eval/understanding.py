"""How well an audio language model understands music: genre, mood, captions.

    python -m eval.understanding --model Qwen/Qwen2-Audio-7B-Instruct --kind gtzan --songs genres_original \
        --list test_filtered.txt --out runs/understanding
    python -m eval.understanding --model … --kind musiccaps --songs musiccaps --out …

Conventions: the model gets a fixed prompt that names the labels, and its words are read twice. Strict:
the answer is a label and nothing else. Lenient: it mentions one label and no other. An answer that is
neither is unparsed: it counts as wrong, and stays on the list, so that a model that talks past the
question isn't mistaken for one that can't hear. Captions are compared by ROUGE-1 and ROUGE-L, Chinese by
character. Answers are kept as they come, so a run that was stopped goes on.

Source: Li 2024 (survey of music understanding), section 4: 100 random songs of a labelled set, 147 of
MusicCaps, accuracy and ROUGE. The survey's prompts aren't published.
"""

import json
import logging
import re
import unicodedata
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal, Protocol

import numpy as np

from common import config as configs
from common.audio import Audio, read_audio, resample, to_channels
from common.errors import AudioError, CheckpointError, ConfigError, RequestError, run_command
from common.seeds import generator
from common.statistics import Estimate, bootstrap, finite, wilson
from eval import rouge, understanding_data
from eval.understanding_data import Item

logger = logging.getLogger(__name__)

Task = Literal["genre", "mood", "caption"]
_LABELLED, _CAPTIONED = 100, 147  # songs of the survey
QUESTIONS = {
    "genre": "What is the genre of this music? Answer with exactly one of: {labels}.",
    "mood": "What is the mood of this music? Answer with exactly one of: {labels}.",
    "caption": "Describe this music in a few sentences: instruments, mood, tempo, and where it would fit.",
}
# What the songs of a kind of data set can be asked; the first where nobody says.
TASKS: dict[str, tuple[Task, ...]] = {
    "folders": ("genre", "mood"),
    "gtzan": ("genre",),
    "fma": ("genre",),
    "mirex": ("mood",),
    "musiccaps": ("caption",),
}
ALIASES = {
    "hiphop": ("hip hop", "hip-hop", "rap"),
    "metal": ("heavy metal",),
    "rnb": ("r&b", "rhythm and blues"),
    "electronic": ("electronica", "edm"),
}
# Everyday words, which name a genre only where nothing else does: jazz was popular, rock can be classic.
LOOSE = {"pop": ("popular",), "classical": ("classic",)}


class Listener(Protocol):
    """A model that hears a song and answers a question about it."""

    name: str

    def answer(self, audio: Audio, question: str) -> str: ...


# ---- reading answers -----------------------------------------------------------------------


def plain(text: str) -> str:
    """Lower case and full width folded, without marks around it or spaces in a row."""
    folded = unicodedata.normalize("NFKC", text).casefold()
    return re.sub(r"\s+", " ", folded).strip(" \t\n.,:;!?\"'`*()[]。，！？：；「」“”‘’")


def _spellings(label: str) -> tuple[str, ...]:
    key = plain(label)
    return (key, key.replace("_", " "), key.replace("-", " "), *ALIASES.get(key.replace("-", ""), ()))


def _loose(label: str) -> tuple[str, ...]:
    return LOOSE.get(plain(label), ())


def strict(answer: str, labels: Sequence[str]) -> str | None:
    """The label that the answer is, and nothing else; None otherwise."""
    return next((x for x in labels if plain(answer) in (*_spellings(x), *_loose(x))), None)


def lenient(answer: str, labels: Sequence[str]) -> str | None:
    """The one label that the answer mentions; None for none, and for several.

    A label inside another's name (pop in synth-pop) doesn't count where the longer one is a label.
    """
    text = plain(answer)
    named = _named(text, {x: _spellings(x) for x in labels}) or _named(text, {x: _loose(x) for x in labels})
    return named.pop() if len(named) == 1 else None


def _named(text: str, spellings: Mapping[str, Sequence[str]]) -> set[str]:
    """The labels of which a spelling is in the text, and not inside a longer one."""
    spans: list[tuple[int, int, str]] = []
    for label, known in spellings.items():
        for spelling in set(known):
            # Word boundaries for Latin words; Chinese has none.
            edge = r"(?<![a-z0-9]){}(?![a-z0-9])" if spelling.isascii() else "{}"
            found = re.finditer(edge.format(re.escape(spelling)), text)
            spans += [(m.start(), m.end(), label) for m in found]
    outer = [
        s
        for s in spans
        if not any(o[0] <= s[0] and s[1] <= o[1] and o[1] - o[0] > s[1] - s[0] for o in spans)
    ]
    return {label for *_, label in outer}


# ---- scores --------------------------------------------------------------------------------


@dataclass(frozen=True)
class Answer:
    """What was said of a song."""

    file: str
    said: str
    label: str | None = None
    captions: tuple[str, ...] = ()


@dataclass(frozen=True)
class Classification:
    """Accuracy in both readings, and what couldn't be read."""

    strict: Estimate
    lenient: Estimate
    unparsed: list[Answer]  # in the lenient reading: counted wrong
    confusion: dict[str, dict[str, int]]  # label → what was said, leniently → how often
    balanced: Estimate  # mean of labels' accuracies, leniently


def classification(answers: Sequence[Answer], labels: Sequence[str]) -> Classification:
    """Accuracies of answers about labelled songs.

    Raises:
        RequestError: nothing was answered, or a song's label isn't among the labels.
    """
    strange = {a.label for a in answers} - set(labels)
    if not answers or strange:
        raise RequestError(f"answers about songs with known labels are needed, but got {strange or 'none'}")
    largest = max(Counter(a.label for a in answers).values()) / len(answers)
    read = [(a, strict(a.said, labels), lenient(a.said, labels)) for a in answers]
    confusion: dict[str, Counter[str]] = {label: Counter() for label in labels}
    for a, _, found in read:
        confusion[str(a.label)][found or "unparsed"] += 1
    hits = np.array([found == a.label for a, _, found in read], np.float64)
    codes = np.array([labels.index(str(a.label)) for a in answers])
    return Classification(
        wilson(sum(found == a.label for a, found, _ in read), len(read), chance=largest),
        wilson(int(hits.sum()), len(read), chance=largest),
        [a for a, _, found in read if found is None],
        {label: dict(counts) for label, counts in confusion.items()},
        bootstrap(np.stack([hits, codes], axis=1), statistic=_balanced, chance=1 / len(set(codes.tolist()))),
    )


def _balanced(rows: np.ndarray) -> float:
    return float(np.mean([rows[rows[:, 1] == label, 0].mean() for label in np.unique(rows[:, 1])]))


def captioning(answers: Sequence[Answer]) -> dict[str, Estimate]:
    """Mean ROUGE-1 and ROUGE-L precision, recall and F1 over songs, with intervals.

    Raises:
        RequestError: nothing was answered, or a song has no caption.
    """
    if not answers:
        raise RequestError("no captions were written")
    out = {}
    for kind in ("1", "L"):
        scores = [rouge.best(a.said, a.captions, kind) for a in answers]
        for part in ("precision", "recall", "f1"):
            out[f"ROUGE-{kind} {part}"] = bootstrap([getattr(s, part) for s in scores])
    return out


# ---- models --------------------------------------------------------------------------------


class Qwen2Audio:
    """Qwen2-Audio and what transformers loads alike, greedily decoded.

    Args:
        source: a folder, or a name in the hub's cache.
    Raises:
        CheckpointError: it isn't here, or isn't such a model.
    """

    longest = 30.0  # seconds that its encoder hears

    def __init__(self, source: str, tokens: int = 128, device: str | None = None) -> None:
        import torch
        from transformers import AutoProcessor, Qwen2AudioForConditionalGeneration

        self.device = device or ("cuda" if torch.cuda.is_available() else "cpu")
        dtype = torch.bfloat16 if self.device == "cuda" else torch.float32
        try:
            self.model = Qwen2AudioForConditionalGeneration.from_pretrained(source, dtype=dtype)
            self.processor = AutoProcessor.from_pretrained(source)
        except (OSError, ValueError, RuntimeError, KeyError) as error:
            raise CheckpointError(
                f"{source} isn't a Qwen2-Audio on this machine: give the folder of its weights ({error})"
            ) from error
        self.model.eval().to(self.device)
        self.name, self.tokens = Path(source).name, tokens

    def answer(self, audio: Audio, question: str) -> str:
        """What the model says; of a long song it hears 30 s from its middle."""
        import torch

        rate = self.processor.feature_extractor.sampling_rate
        samples = resample(to_channels(audio, 1), rate).samples[0]
        limit = round(self.longest * rate)
        start = max(0, (len(samples) - limit) // 2)
        content = [{"type": "audio", "audio": "song"}, {"type": "text", "text": question}]
        prompt = self.processor.apply_chat_template(
            [{"role": "user", "content": content}], add_generation_prompt=True, tokenize=False
        )
        inputs = self.processor(
            text=[prompt], audio=[samples[start : start + limit]], sampling_rate=rate, return_tensors="pt"
        ).to(self.device)
        with torch.inference_mode():
            model: Any = self.model  # the self type of its `generate` excludes models with audio
            made = model.generate(**inputs, max_new_tokens=self.tokens, do_sample=False)
        fresh = made[:, inputs["input_ids"].shape[1] :]
        return self.processor.batch_decode(fresh, skip_special_tokens=True)[0].strip()


# ---- a run ---------------------------------------------------------------------------------


def chosen(items: Sequence[Item], count: int, seed: int) -> list[Item]:
    """A random sample, in the order of the data set."""
    places = sorted(generator(seed, "understanding").permutation(len(items))[:count])
    return [items[i] for i in places]


def ask(
    model: Listener, items: Sequence[Item], question: str, kept: Path, allow_missing: bool = False
) -> list[Answer]:
    """Ask about every song; answers that `kept` holds to the same question aren't asked again.

    Raises:
        AudioError: songs can't be heard, unless they may be left out.
        RequestError: `kept` isn't a file of answers.
    """
    known = {
        row["file"]: row["said"]
        for row in _kept(kept)
        if (row["model"], row["question"]) == (model.name, question)
    }
    out, missing = [], []
    kept.parent.mkdir(parents=True, exist_ok=True)
    for number, item in enumerate(items):
        name = str(item.audio)
        if number % 20 == 0:
            logger.info("song %d of %d", number + 1, len(items))
        if name not in known:
            try:
                known[name] = model.answer(read_audio(item.audio), question)
            except AudioError as error:
                missing.append(str(error))
                continue
            row = {"model": model.name, "question": question, "file": name, "said": known[name]}
            with kept.open("a", encoding="utf-8") as file:
                file.write(json.dumps(row, ensure_ascii=False) + "\n")
        out.append(Answer(name, known[name], item.label, item.captions))
    if missing and not allow_missing:
        raise AudioError(
            f"{len(missing)} of {len(items)} songs can't be heard: {'; '.join(missing)}. "
            "Mend them, or leave them out with --allow-missing"
        )
    for reason in missing:
        logger.warning("left out: %s", reason)
    return out


def _kept(path: Path) -> list[dict[str, str]]:
    """The answers of an earlier run; a last line that a killed run left unfinished is taken off the file.

    Raises:
        RequestError: another line is damaged.
    """
    if not path.is_file():
        return []
    data = path.read_bytes()
    whole, end, unfinished = data.rpartition(b"\n")
    out = []
    for number, line in enumerate((whole + end).split(b"\n")[:-1], 1):
        if line.strip():
            row = _answer(line)
            if row is None:
                raise RequestError(f"{path}, line {number}: this is no answer: remove the line, or the file")
            out.append(row)
    if unfinished:
        row = _answer(unfinished)
        if row is None:
            logger.warning("%s ends in half a line: that song is asked about again", path)
        else:
            out.append(row)
        part = path.with_name(f".{path.name}.part")
        part.write_bytes(whole + end + (unfinished + b"\n" if row else b""))
        part.replace(path)
    return out


def _answer(line: bytes) -> dict[str, str] | None:
    """A line of answers.jsonl; None where it isn't one."""
    try:
        row = json.loads(line.decode("utf-8"))
    except ValueError:
        return None
    names = ("model", "question", "file", "said")
    return row if isinstance(row, dict) and all(isinstance(row.get(n), str) for n in names) else None


@dataclass(frozen=True)
class Settings:
    """What to ask of which model."""

    model: str  # a folder, or a name in the hub's cache
    kind: str  # folders, gtzan, fma, mirex or musiccaps
    songs: str  # the data set's folder
    out: str
    task: Task | None = None  # what the data set is labelled with when None; genre for folders
    list: str | None = None  # the data set's list of songs
    count: int | None = None  # songs; 100 with labels and 147 with captions, as in the survey
    seed: int = 0
    allow_missing: bool = False

    def __post_init__(self) -> None:
        if self.count is not None and self.count < 1:
            raise ConfigError(f"count is 1 or more, but got {self.count}")


@dataclass(frozen=True)
class Plan:
    """What is asked about which songs."""

    task: Task
    labels: list[str]  # none for captions
    sample: list[Item]


def planned(settings: Settings) -> Plan:
    """The songs and the task that the settings name.

    Raises:
        RequestError: the data set can't be read, or hasn't what the task asks for.
    """
    items = understanding_data.read(settings.kind, settings.songs, settings.list)
    known = TASKS[settings.kind]
    task = known[0] if settings.task is None else settings.task
    if task not in known:
        raise RequestError(
            f"{settings.kind} has {'captions' if items[0].captions else 'labels'}: "
            f"its task is {' or '.join(known)}, but got {task}"
        )
    captions = task == "caption"
    labels = sorted({str(item.label) for item in items}) if not captions else []
    count = settings.count or (_CAPTIONED if captions else _LABELLED)
    return Plan(task, labels, chosen(items, count, settings.seed))


def evaluate(model: Listener, settings: Settings, plan: Plan | None = None) -> dict[str, Any]:
    """Ask and score; the answers and the scores are kept in `settings.out`.

    Args:
        plan: of these settings, where it is known already.
    Raises:
        SongError: the data set, its audio or the answers can't be used.
    """
    plan = plan or planned(settings)
    task, labels = plan.task, plan.labels
    question = QUESTIONS[task].format(labels=", ".join(labels))
    out = Path(settings.out)
    answers = ask(model, plan.sample, question, out / "answers.jsonl", settings.allow_missing)
    head = {"model": model.name, "task": task, "question": question, "songs": len(answers)}
    if task == "caption":
        scores: dict[str, Any] = {name: asdict(e) for name, e in captioning(answers).items()}
    else:
        scores = asdict(classification(answers, labels))
    (out / "scores.json").write_text(
        json.dumps(finite(head | scores), ensure_ascii=False, indent=1), encoding="utf-8"
    )
    return head | scores


def main() -> int:
    """Ask, print and keep."""
    logging.basicConfig(level=logging.WARNING, format="%(message)s")
    logger.setLevel(logging.INFO)
    settings = configs.parse(Settings)
    plan = planned(settings)  # before minutes go by to load the model
    found = evaluate(Qwen2Audio(settings.model), settings, plan)
    for name, value in found.items():
        if isinstance(value, dict) and "low" in value:
            print(f"{name:18} {Estimate(**value)}")
    if "unparsed" in found:
        print(f"{len(found['unparsed'])} of {found['songs']} answers name no label, or several:")
        for answer in found["unparsed"][:10]:
            print(f"  {answer['file']}: {answer['said'][:100]!r}")
    return 0


if __name__ == "__main__":
    run_command(main)
