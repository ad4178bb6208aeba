"""A tiny random Qwen3 with its own tokenizer: the stand-in for a real one, through the same code."""

import json
from functools import lru_cache
from pathlib import Path

import torch
from transformers import PreTrainedTokenizerFast, Qwen3Config, Qwen3ForCausalLM

from lyrics_llm.tokens import corpus_characters

SPECIAL = ("<|endoftext|>", "<|im_start|>", "<|im_end|>")


WORDS = "月亮 月光 故乡 妈妈 海边 天空 我们 想你 回家 夏天 青春 下着雨 慢慢走 等你回来 海风轻轻"
ENGLISH = "love me tonight baby you and I need don't go away my heart is all now hold"


@lru_cache(maxsize=1)
def tokenizer_json() -> str:
    """A byte-level BPE as Qwen's: every character of the corpus, some words of several, some English."""
    from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, pre_tokenizers

    letters = _byte_letters()
    vocabulary: dict[str, int] = {letter: i for i, letter in enumerate(letters.values())}
    merges: list[tuple[str, str]] = []

    def joined(parts: list[str]) -> str:
        left = parts[0]
        for part in parts[1:]:
            if left + part not in vocabulary:
                merges.append((left, part))
                vocabulary[left + part] = len(vocabulary)
            left += part
        return left

    def spelt(text: str) -> list[str]:
        return [letters[byte] for byte in text.encode()]

    for character in corpus_characters():
        joined(spelt(character))
    for word in WORDS.split():
        joined([joined(spelt(character)) for character in word])
    for word in ENGLISH.split():
        for form in (word, " " + word):
            joined(spelt(form))
    tokenizer = Tokenizer(models.BPE(vocab=vocabulary, merges=merges))
    split = Regex(r"[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+")
    bytes_of = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    pieces = pre_tokenizers.Split(split, "isolated")
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([pieces, bytes_of])  # type: ignore[assignment]
    tokenizer.decoder = decoders.ByteLevel()  # type: ignore[assignment]
    tokenizer.add_special_tokens([AddedToken(name, special=True, normalized=False) for name in SPECIAL])
    return tokenizer.to_str()


def _byte_letters() -> dict[int, str]:
    """The letters that byte-level BPE writes bytes with: printable ones as they are, others from 256 on."""
    plain = [*range(33, 127), *range(161, 173), *range(174, 256)]
    rest = [byte for byte in range(256) if byte not in plain]
    return {byte: chr(byte) for byte in plain} | {byte: chr(256 + i) for i, byte in enumerate(rest)}


def tokenizer() -> PreTrainedTokenizerFast:
    from tokenizers import Tokenizer

    return PreTrainedTokenizerFast(
        tokenizer_object=Tokenizer.from_str(tokenizer_json()), pad_token=SPECIAL[0], eos_token=SPECIAL[2]
    )


def qwen(seed: int = 0) -> Qwen3ForCausalLM:
    torch.manual_seed(seed)
    sizes = {
        "hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 2, "num_attention_heads": 2,
        "num_key_value_heads": 1, "head_dim": 32, "max_position_embeddings": 4096,
    }  # fmt: skip
    words = tokenizer()
    config = Qwen3Config(
        vocab_size=len(words),
        tie_word_embeddings=True,
        initializer_range=0.1,
        pad_token_id=0,
        eos_token_id=2,
        bos_token_id=None,
        **sizes,
    )
    return Qwen3ForCausalLM(config)


def save(folder: Path) -> Path:
    """The model and its tokenizer in a folder, as the hub has them."""
    qwen().save_pretrained(folder)
    tokenizer().save_pretrained(folder)
    assert json.loads((folder / "config.json").read_text())["model_type"] == "qwen3"
    return folder
