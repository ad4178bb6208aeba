"""QLoRA of a tiny Qwen3: right gradients, loss on answers, exact resume, adapters saved, merged, reloaded."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import lyrics_qwen
import pytest
import torch
from processes import in_two
from safetensors.torch import load_file

from common import config as configs
from common.errors import CheckpointError, ConfigError
from common.lyrics import Lyrics
from common.rhyme import group
from corpus import muchin
from lyrics_llm import chat, qlora
from lyrics_llm.chat import ChatWriter
from lyrics_llm.chat_config import ChatConfig
from lyrics_llm.chat_data import IGNORED, Examples, marked_structure
from lyrics_llm.config import TrainConfig
from lyrics_llm.merge import MergeConfig, merge
from lyrics_llm.structure import Structure
from lyrics_llm.train import train

# peft 0.21 asks transformers 5.23 by an old name.
pytestmark = pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing` is deprecated:FutureWarning")
ROOT = Path(__file__).parent.parent
MUCHIN = ROOT / "tests" / "fixtures" / "muchin" / "v1"


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return lyrics_qwen.save(tmp_path_factory.mktemp("qwen") / "base")


def settings(base: Path, out: Path, steps: int, *more: str) -> TrainConfig:
    tiny = str(ROOT / "lyrics_llm" / "configs" / "tiny-qwen.yaml")
    options = ["--out", str(out), "--chat.base", str(base), "--max_steps", str(steps), *more]
    return configs.parse(TrainConfig, ["--config", tiny, *options])


# ---- gradients -----------------------------------------------------------------------------------


def gradients(model: torch.nn.Module, ids: torch.Tensor) -> torch.Tensor:
    """All gradients of the adapter as one vector."""
    model.train()
    loss, _ = qlora.losses(model, ids, ids)
    loss.backward()
    found = [
        p.grad.flatten() for n, p in sorted(model.named_parameters()) if "lora" in n and p.grad is not None
    ]
    assert len(found) == 28  # two layers of seven linear ones, A and B
    return torch.cat(found)


def test_gradients_of_the_quantised_model_are_those_of_an_unquantised_one(base: Path) -> None:
    """A forward pass without gradients comes first: that is what repacks weights where it goes wrong."""
    import bitsandbytes.functional as bnb

    config = ChatConfig(base=str(base), r=4, lora_dropout=0.0)
    quantised, _ = qlora.load_base(base, four_bit=True)
    kinds = {type(m).__name__ for m in quantised.modules()}
    assert "Linear4bit" in kinds
    states = [m.weight.quant_state for m in quantised.modules() if type(m).__name__ == "Linear4bit"]
    assert all(s.quant_type == "nf4" and s.nested for s in states)
    reference, _ = qlora.load_base(base)
    named = dict(reference.named_modules())
    for name, module in quantised.named_modules():
        if type(module).__name__ == "Linear4bit":
            weight = bnb.dequantize_4bit(module.weight.data, module.weight.quant_state)
            assert weight.shape == named[name].weight.shape
            named[name].weight.data.copy_(weight)
    pair = [
        qlora.with_lora(quantised, config, 0),
        qlora.with_lora(reference, replace(config, four_bit=False), 0),
    ]
    drawn = torch.Generator().manual_seed(1)
    for name, parameter in pair[0].named_parameters():
        if "lora_B" in name:
            parameter.data.normal_(0, 0.05, generator=drawn)
            dict(pair[1].named_parameters())[name].data.copy_(parameter.data)
    ids = torch.randint(300, 2800, (2, 40), generator=torch.Generator().manual_seed(0))
    for model in pair:
        model.eval()
        with torch.no_grad():
            model(input_ids=ids)
    first, second = (gradients(model, ids) for model in pair)
    assert float(torch.cosine_similarity(first, second, dim=0)) > 0.99
    assert float(first.norm() / second.norm()) == pytest.approx(1.0, abs=0.02)


def test_the_repacking_of_bitsandbytes_is_off(base: Path) -> None:
    model, _ = qlora.load_base(base, four_bit=True)
    layers = [m for m in model.modules() if type(m).__name__ == "Linear4bit"]
    assert len(layers) == 14
    assert all(layer.support_avx512bf16_for_cpu is False for layer in layers)


# ---- data ----------------------------------------------------------------------------------------


def test_only_answers_are_learned(base: Path) -> None:
    words = lyrics_qwen.tokenizer()
    examples = Examples(settings(base, base, 1).chat, words, seed=0)  # type: ignore[arg-type]
    ids, labels = examples[0]
    again = Examples(examples.config, words, seed=0)[0]
    assert torch.equal(ids, again[0]) and torch.equal(labels, again[1])
    assert not torch.equal(ids[0][:200], Examples(examples.config, words, seed=0, process=1)[0][0][0][:200])
    for index in range(2):
        messages, answer = examples.example(index)
        learned = ids[index][labels[index] != IGNORED]
        assert words.decode(learned) == answer + chat.END_OF_TURN
        before = ids[index][: int((labels[index] != IGNORED).nonzero()[0])]
        assert before.tolist() == chat.prompt_ids(words, messages)


def test_answers_are_what_the_writer_reads() -> None:
    config = ChatConfig(base="", seconds=(12.0, 20.0), lyrics_share=0.5)
    examples = Examples(config, lyrics_qwen.tokenizer(), seed=1)
    kinds = set()
    for index in range(24):
        messages, answer = examples.example(index)
        asked = messages[1]["content"]
        if asked.startswith("写一首歌的歌词"):
            structure = asked.partition("结构（c是一个字，R是押韵的字）：\n")[2]
            words = Lyrics.parse(answer)
            assert str(Structure.of(words)).rstrip() == structure
            kinds.add("words")
        elif asked.startswith("为歌词谱曲"):
            assert answer.startswith("section:") and answer.endswith("/s;")
            kinds.add("score")
        elif asked.startswith("为一首歌定下"):
            assert answer.startswith("genre:") and answer.count(";") == 10
            kinds.add("plan")
        else:
            assert asked.startswith("用几个词概括")
            kinds.add("themes")
    assert kinds >= {"words", "score", "plan"}


def test_songs_of_muchin_keep_their_annotators_marks() -> None:
    words = lyrics_qwen.tokenizer()
    config = ChatConfig(base="", muchin=str(MUCHIN), muchin_share=1.0, lyrics_share=1.0)
    found = [(s, Examples(config, words, seed=0, split=s)) for s in ("train", "valid", "test")]  # type: ignore[arg-type]
    records = {r.id: (split, structure) for split, e in found for r, structure in e.records}
    assert records
    for song in (path.parent for path in MUCHIN.rglob("str_rhyme")):
        if f"muchin-{song.name}" in records:
            marks = muchin.rhyme_marks(song)
            _, structure = records[f"muchin-{song.name}"]
            assert tuple(tuple(f.mark == "A" for f in lines) for _, lines in structure.sections) == marks
    examples = next(e for _, e in found if e.records)
    messages, answer = examples.example(0)
    assert "描述：" in messages[1]["content"]
    assert Lyrics.parse(answer) == Lyrics.parse(answer)
    assert marked_structure(Lyrics.parse("<verse>\n天\n地\n"), ((True, False),)).sections[0][1][0].mark == "A"


def test_songs_that_are_too_long_are_said(base: Path) -> None:
    config = ChatConfig(base=str(base), longest=50, seconds=(12.0, 14.0))
    with pytest.raises(ConfigError, match="have more than 50 tokens: raise"):
        Examples(config, lyrics_qwen.tokenizer(), 0)[0]


# ---- training ------------------------------------------------------------------------------------


def test_resuming_equals_not_stopping_and_adapters_are_used(base: Path, tmp_path: Path) -> None:
    train(settings(base, tmp_path / "whole", 4))
    train(settings(base, tmp_path / "parts", 2))
    folder = train(settings(base, tmp_path / "parts", 4))
    assert folder == tmp_path / "parts" / "adapter"
    whole, parts = (
        load_file(tmp_path / run / "adapter" / "adapter_model.safetensors") for run in ("whole", "parts")
    )
    assert whole.keys() == parts.keys()
    assert all(torch.equal(whole[k], parts[k]) for k in whole)
    held = sorted(p.name for p in (tmp_path / "whole" / "checkpoint").iterdir())
    assert "adapter.safetensors" in held and "model.safetensors" not in held

    rows = [json.loads(row) for row in (tmp_path / "whole" / "metrics.jsonl").read_text().splitlines()]
    assert all(row["loss/token"] > 0 for row in rows if "loss/token" in row)

    # reloaded on the quantised base, and merged into the unquantised one
    tuned = ChatWriter.from_pretrained(base, adapter=folder)
    plain = ChatWriter.from_pretrained(base)
    ids = torch.randint(300, 2800, (1, 12), generator=torch.Generator().manual_seed(0))
    merged = merge(MergeConfig(str(folder), str(tmp_path / "merged"), str(base), "float32"))
    whole_model = ChatWriter.from_pretrained(merged)
    with torch.no_grad():
        logits = [w.model(input_ids=ids).logits for w in (tuned, whole_model, plain)]
    torch.testing.assert_close(logits[0], logits[1], atol=2e-4, rtol=1e-3)
    assert float((logits[0] - logits[2]).abs().max()) > 1e-2
    with pytest.raises(CheckpointError, match="exists already"):
        merge(MergeConfig(str(folder), str(tmp_path / "merged"), str(base)))
    words = tuned.write("想家的歌", Structure.parse("<verse>\n5R\n5R\n"), seed=1)
    assert len({group(line) for line in words.lines}) == 1


def test_several_processes_save_together(base: Path, tmp_path: Path) -> None:
    in_two(train, settings(base, tmp_path, 2, "--save_minutes", "0"))
    assert (tmp_path / "checkpoint/complete").read_text() == "2"
    learned = load_file(tmp_path / "adapter/adapter_model.safetensors")
    assert learned and all(bool(v.isfinite().all()) for v in learned.values())
    train(settings(base, tmp_path, 3))  # and one process goes on
    assert (tmp_path / "checkpoint/complete").read_text() == "3"


def test_it_learns(base: Path, tmp_path: Path) -> None:
    plain = ["--chat.four_bit", "false", "--chat.accumulate", "1"]
    options = [*plain, "--chat.lyrics_share", "1.0", "--lr", "0.02"]
    train(settings(base, tmp_path / "run", 8, *options))
    rows = [json.loads(row) for row in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()]
    losses = [row["loss/token"] for row in rows if "loss/token" in row]
    assert losses[-1] < 0.95 * losses[0]


def test_adapters_that_change_nothing_are_refused(base: Path, tmp_path: Path) -> None:
    model, _ = qlora.load_base(base)
    idle = qlora.with_lora(model, ChatConfig(base=str(base), r=2, four_bit=False), 0)
    idle.save_pretrained(str(tmp_path / "idle"))
    with pytest.raises(CheckpointError, match="changes nothing"):
        ChatWriter.from_pretrained(base, adapter=tmp_path / "idle")
    with pytest.raises(CheckpointError, match="holds no adapter"):
        ChatWriter.from_pretrained(base, adapter=tmp_path)
    other = shutil.copytree(base, tmp_path / "other")
    (other / "config.json").write_text("{}")
    with pytest.raises(CheckpointError, match="can't be read"):
        ChatWriter.from_pretrained(other)


def test_every_configuration_is_read() -> None:
    for name in ("paper", "qwen", "tiny-qwen"):
        path = ROOT / "lyrics_llm" / "configs" / f"{name}.yaml"
        config = configs.parse(TrainConfig, ["--config", str(path), "--out", "x"])
        assert config.chat is not None
    paper = configs.parse(
        TrainConfig, ["--config", str(ROOT / "lyrics_llm/configs/paper.yaml"), "--out", "x"]
    )
    assert paper.chat is not None and paper.chat.four_bit and paper.chat.base == "Qwen/Qwen3-14B"
    with pytest.raises(ConfigError, match="at least 1, but got 0"):
        ChatConfig(r=0)
