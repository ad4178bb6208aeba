"""The text side: a tokenizer of characters, and how long texts are cut.

Text is normalised (`common.description.normalise`) and lower-cased first, and the spaces and
marks between fragments become one comma, so full and half width and "，" against ", " read alike.
"""

import re
from collections import Counter
from collections.abc import Iterable

from tokenizers import Regex, Tokenizer, models, normalizers, pre_tokenizers, processors
from transformers import PreTrainedTokenizerFast

from common.description import normalise

SPECIALS = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
# The marks at which `common.description.fragments` ends a fragment; a decimal point is none.
_MARKS = re.compile(r"(?:\s*(?:[,;:。、~·|!?\n\r\t]|\.(?!\d)))+\s*")


def canonical(text: str) -> str:
    """One way to write a description: half width, lower case, one comma for any mark between parts."""
    return _MARKS.sub(",", normalise(text).lower()).strip(", ")


def character_tokenizer(texts: Iterable[str], least: int = 1, longest: int = 256) -> PreTrainedTokenizerFast:
    """A tokenizer with one token a character, from the characters that the texts use.

    A character that occurs fewer than `least` times, or never, is [UNK]; training hides characters
    at random (`chinmu.data`) so that the model learns to read past it.
    """
    counts = Counter(c for text in texts for c in canonical(text))
    known = sorted(c for c, n in counts.items() if n >= least and not c.isspace())
    vocabulary = {token: index for index, token in enumerate((*SPECIALS, *known))}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.Replace(Regex(r"\s+"), "")
    tokenizer.pre_tokenizer = pre_tokenizers.Split(Regex("."), "isolated")
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        model_max_length=longest,
        pad_token="[PAD]",
        unk_token="[UNK]",
        cls_token="[CLS]",
        sep_token="[SEP]",
        mask_token="[MASK]",
    )


def parts(text: str, tokens: int, longest: int) -> list[str]:
    """Cut a text of so many tokens into equal pieces of at most `longest` tokens; nothing is lost.

    The two tokens that open and close a text are counted for each piece.
    """
    if tokens <= longest:
        return [text]
    count = -(-tokens // max(1, longest - 2))
    size = -(-len(text) // count)
    return [text[i : i + size] for i in range(0, len(text), size)]
