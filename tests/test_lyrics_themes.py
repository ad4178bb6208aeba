"""A writer that was trained before the corpus had all of its themes goes on writing; words of lyrics."""

import subprocess
import sys
from pathlib import Path

import pytest

from corpus.attributes import attributes
from corpus.words import THEMES
from lyrics_llm import model, tokens
from lyrics_llm.config import ModelConfig
from lyrics_llm.tokens import Vocabulary, build
from lyrics_llm.writer import Writer


def test_a_theme_that_the_vocabulary_lacks_is_passed_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setitem(tokens.PLAN_FIELDS, "theme", THEMES[:20])
    vocabulary = Vocabulary(build())
    sizes = ModelConfig(hidden_size=16, intermediate_size=32, layers=1, heads=2, kv_heads=1, head_dim=8)
    Writer(model.build(sizes, vocabulary, 0), vocabulary).save_pretrained(tmp_path)
    monkeypatch.undo()
    text = "关于毕业的慢歌，女声"
    assert attributes(text)["theme"] == "毕业" and "<theme:毕业>" not in vocabulary.ids
    writer = Writer.from_pretrained(tmp_path)
    sketch = writer.plan(text, seed=1, duration=14)
    assert "doesn't know the theme 毕业" in caplog.text
    assert sketch.theme in THEMES[:20] and sketch.singer == "female"
    assert writer.write(text, sketch, seed=1).lines


def test_the_words_of_lyrics_dont_depend_on_what_was_read_before() -> None:
    asked = (
        "from common.lyrics import Lyrics; from lyrics_llm.themes import themes;"
        "print(*themes(Lyrics.parse('奶奶的院子里\\n奶奶种的花\\n奶奶在等我')).words)"
    )
    said = subprocess.run([sys.executable, "-c", asked], capture_output=True, text=True, check=True)
    assert said.stdout.split() == ["奶奶"]
