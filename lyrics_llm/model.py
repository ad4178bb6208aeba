"""The demo writer's network: a small Qwen3, from nothing, that knows nothing but song sheets.

A real Qwen3 takes its place with its own tokenizer (`lyrics_llm.chat`) and a LoRA adapter
(`lyrics_llm.qlora`).
"""

from pathlib import Path

import torch
from transformers import Qwen3Config, Qwen3ForCausalLM

from common.errors import CheckpointError
from common.seeds import derive_seed
from lyrics_llm import tokens as t
from lyrics_llm.config import ModelConfig
from lyrics_llm.tokens import Vocabulary


def build(config: ModelConfig, vocabulary: Vocabulary, seed: int) -> Qwen3ForCausalLM:
    """A new model; the same seed gives the same weights."""
    torch.manual_seed(derive_seed(seed, "lyrics weights"))
    ids = vocabulary.ids
    return Qwen3ForCausalLM(Qwen3Config(**config.qwen(len(vocabulary), ids[t.PAD], ids[t.BEGIN], ids[t.END])))


def load(folder: str | Path) -> tuple[Qwen3ForCausalLM, Vocabulary]:
    """Model and vocabulary of a folder.

    Raises:
        CheckpointError: the folder holds no lyric model that can be read.
    """
    if not (Path(folder) / "config.json").is_file():
        raise CheckpointError(f"{folder} holds no lyric model: its config.json is missing")
    vocabulary = Vocabulary.load(folder)
    try:
        model = Qwen3ForCausalLM.from_pretrained(str(folder), dtype=torch.float32)
    except (OSError, ValueError, RuntimeError) as error:
        raise CheckpointError(f"the lyric model in {folder} can't be read: {error}") from error
    return model.eval(), vocabulary


def moved(network: Qwen3ForCausalLM, known: Vocabulary, vocabulary: Vocabulary) -> Qwen3ForCausalLM:
    """The model with another vocabulary: its vectors of tokens go by their names.

    A value that its field hadn't (`<lead:钢琴>`) begins as the mean of those that it had, any other token
    as the mean of all. The same model where the vocabularies are the same.
    """
    if known.names == vocabulary.names:
        return network
    old = network.model.embed_tokens.weight.data
    rows = [
        old[known.ids[name]] if name in known.ids else old[_kin(name, known)].mean(0)
        for name in vocabulary.names
    ]
    grown = Qwen3ForCausalLM(Qwen3Config.from_dict(network.config.to_dict() | _special(vocabulary)))
    both = ("model.embed_tokens.weight", "lm_head.weight")  # one and the same
    grown.load_state_dict(network.state_dict() | dict.fromkeys(both, torch.stack(rows)))
    return grown.eval()


def _kin(name: str, known: Vocabulary) -> list[int]:
    field, colon, _ = name.partition(":")
    same = known.matching(field + ":") if colon and field.startswith("<") else []
    return same or list(range(len(known)))


def _special(vocabulary: Vocabulary) -> dict[str, int]:
    """What the settings of a network say of its vocabulary."""
    names = {"pad_token_id": t.PAD, "bos_token_id": t.BEGIN, "eos_token_id": t.END}
    return {"vocab_size": len(vocabulary)} | {setting: vocabulary.ids[w] for setting, w in names.items()}


def save(model: Qwen3ForCausalLM, vocabulary: Vocabulary, folder: str | Path) -> None:
    """Weights, configuration and tokenizer in one folder."""
    model.save_pretrained(str(folder))
    vocabulary.tokenizer.save_pretrained(str(folder))
