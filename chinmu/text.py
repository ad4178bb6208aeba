"""The text side: how a text is written in one way, a tokenizer of characters, and how long texts are cut.

What doesn't change the meaning doesn't reach the tower: widths of characters, spaces and marks between
parts, traditional characters, emoji, and the ways to write a number (`canonical`). The words of the
corpus are a fixed point of it.
"""

import json
import re
import unicodedata
from collections import Counter
from collections.abc import Iterable
from functools import cache

from tokenizers import Regex, Tokenizer, models, normalizers, pre_tokenizers, processors
from transformers import PreTrainedTokenizerBase, PreTrainedTokenizerFast

from common.description import cut, parted, simplified
from common.numerals import numeral, spoken

SPECIALS = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
# The marks at which `common.description.fragments` ends a fragment, and others that part words; a
# decimal point and the bars of 4/4 and A/B are none.
_MARKS = re.compile(r"(?:\s*(?:[,;:。、~·|!?\n\r\t—–―•\[\]{}【】]|\.(?!\d)|(?<=\s)/(?=\s)))+\s*")
_QUOTES = str.maketrans("", "", "\"'`“”‘’「」『』《》〈〉")
_MUSIC = str.maketrans({"♯": "#", "♭": "b", "™": None, "ℹ": None})  # the last two would become letters
# 一百二十拍, 八十年代: values; 四四拍 and 三拍子 are metres.
_SPELT = re.compile(
    "(?<![第零一二三四五六七八九十百千万两])[零一二三四五六七八九十百]{1,6}(?=拍(?!子)|bpm|年代)"
)
_UNITS = "拍|小节|年代|秒|分|首|岁|度|段"
_SPACE_IN_NUMBER = re.compile(rf"(?<=\d)\s+(?=(?:{_UNITS}))|(?<=第)\s+(?=\d)")
# Metres, ages and ordinals are in numerals, bars and decades in digits, as the corpus writes them.
# Beside another mark (3+2岁, 18-20岁) a number stays.
_METRE = re.compile(
    r"(?<![\d/.+&#>-])([2-9]|12)/(2|4|8|16)(?=拍)|([二四八])分之([二三四五六七九]|十二)(?=拍)"
)
_IN_NUMERALS = re.compile(r"(?<=第)[1-9]\d{0,2}(?=[\u4e00-\u9fff])|(?<![\d.,/~+&#>-])[1-9]\d{0,2}(?=多?岁)")
_BARS = re.compile(
    "(?<![第每几零一二三四五六七八九十百])([二两三四五六七八九]|[一二三四五六七八九]?十[一二三四五六七八九]?)(?=小节)"
)
_FOUR_BARS = re.compile("(?<![0-9])4(?=小节一个)")  # 四小节一个循环
_YEAR = re.compile("[一二][零〇一二三四五六七八九]{3}(?=年)")


def canonical(text: str) -> str:
    """One way to write a description: half width, lower case, simplified, one comma between parts."""
    plain = _without_pictures(parted(text.translate(_MUSIC))).translate(_QUOTES)
    marked = simplified(parted(plain).lower()).replace("*", "")
    while (once := parted(_MARKS.sub(", ", marked).strip(", "))) != marked:
        marked = once  # a list may begin behind another mark
    written = _spaces(_numbers(_spaces(marked)))
    return re.sub(r"(?<=\d),(?=\d{3}(?!\d))", ", ", written)  # 90、120 isn't 90120 when read again


def tidy(text: str) -> str:
    """A description before it is split into fragments: the space of 90 拍 parts nothing."""
    return _SPACE_IN_NUMBER.sub("", parted(_without_pictures(parted(text.translate(_MUSIC)))))


def _without_pictures(text: str) -> str:
    """Emoji, ornaments and invisible characters away; a space stands for a picture between letters."""
    if text.isascii() and text.isprintable():
        return text
    kept = "".join(_shown(c) for c in text)
    return re.sub("(?<=[\u4e00-\u9fff])\0+|\0+(?=[\u4e00-\u9fff])", "", kept).replace("\0", " ")


@cache
def _shown(c: str) -> str:
    """A character that is to be read, NUL for a picture, and nothing for what isn't seen."""
    kind = unicodedata.category(c)
    # Pictures that Unicode counts among arrows and shapes, and those that are newer than Python's tables.
    if kind in ("So", "Sk") or c in "↔⤴⤵◻◼◽◾〰〽" or "\U0001f000" <= c <= "\U0001fbff":
        return "\0"
    unseen = kind in ("Cf", "Cs") or (kind == "Cc" and not c.isspace())
    return "" if unseen or _UNSEEN.match(c) else c


_UNSEEN = re.compile("[\u034f\u1160\u20e3\ufe00-\ufe0f\U000e0100-\U000e01ef]")  # selectors and fillers


def _spaces(text: str) -> str:
    """Spaces only between Latin words: none beside a Chinese character, nor between a number and its unit."""
    text = re.sub(r"(?<=[^\x00-\x7f])\s+|\s+(?=[^\x00-\x7f])|\s*(?<=,)\s*|\s+(?=,)", "", text)
    return re.sub(r"(?<=\d)\s+(?=[a-z])", "", re.sub(r"\s+", " ", text))


def _numbers(text: str) -> str:
    """A number in one spelling: 3.50 as 3.5, 4/4拍 as 四四拍, 20岁 as 二十岁, 一百二十拍 as 120拍."""
    text = re.sub(r"(?<![\d.])(\d+)(?:\.0+|(\.\d*[1-9])0+)(?![\d.])", r"\1\2", text)
    text = _YEAR.sub(
        lambda match: "".join(str("零一二三四五六七八九".index(c)) for c in match[0].replace("〇", "零")),
        text,
    )
    text = re.sub(r"(?<!\d)19(?=[2-9]0年代)", "", text)
    text = _METRE.sub(lambda m: numeral(int(m[1])) + numeral(int(m[2])) if m[1] else m[4] + m[3], text)
    text = _IN_NUMERALS.sub(_numeral, text)
    text = _BARS.sub(lambda match: str(spoken(400)[match[0]]), text)
    text = _FOUR_BARS.sub("四", text)
    return _SPELT.sub(_digits, text)


def _digits(match: re.Match[str]) -> str:
    value = spoken(400).get(match[0], 0)
    return str(value) if value >= 10 else match[0]  # 两拍 and 三拍 are no tempo


def _numeral(match: re.Match[str]) -> str:
    counted = match.string[match.end() : match.end() + 1] == "岁"
    return "两" if counted and match[0] == "2" else numeral(int(match[0]))


# ---- tokens --------------------------------------------------------------------------------


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
    return _wrapped(tokenizer, longest)


def _wrapped(tokenizer: Tokenizer, longest: int) -> PreTrainedTokenizerFast:
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        model_max_length=longest,
        pad_token="[PAD]",
        unk_token="[UNK]",
        cls_token="[CLS]",
        sep_token="[SEP]",
        mask_token="[MASK]",
    )


def with_characters(tokenizer: PreTrainedTokenizerBase, characters: Iterable[str]) -> PreTrainedTokenizerFast:
    """A tokenizer of characters that knows further ones, behind those that it knew."""
    own = tokenizer.get_vocab()
    new = sorted({c for c in characters if not c.isspace()} - own.keys())
    settings = json.loads(tokenizer.backend_tokenizer.to_str())  # type: ignore[attr-defined]
    settings["model"]["vocab"] = own | {c: len(own) + k for k, c in enumerate(new)}
    return _wrapped(Tokenizer.from_str(json.dumps(settings)), tokenizer.model_max_length)


def parts(text: str, tokens: int, longest: int) -> list[str]:
    """Cut a text of so many tokens into nearly equal pieces of at most `longest` tokens; nothing is lost.

    The two tokens that open and close a text are counted for each piece. Pieces end where words do.
    """
    if tokens <= longest:
        return [text]
    return cut(text, max(1, len(text) * (longest - 2) // tokens))
