"""From a description to lyrics and their lead sheet: a small Qwen3, or a real one, under a grammar.

    import lyrics_llm

    words = lyrics_llm.write("一首下雨天想家的慢歌", "<verse>\n7R\n7R\n\n<chorus>\n5R\n5R\n", seed=1)
    words = lyrics_llm.rewrite(words, section=2, line=1, instruction="写海边")
    score = lyrics_llm.compose(words, "一首下雨天想家的慢歌，女声，钢琴", seed=1)
    print(lyrics_llm.singability(words, duration=30).warnings)

Models are imported when they are first used.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence

    from common.lyrics import Lyrics, SectionTag
    from common.score import Score
    from lyrics_llm.author import Language
    from lyrics_llm.singable import Singability
    from lyrics_llm.structure import Structure

__all__ = ["compose", "rewrite", "singability", "write"]


def write(
    description: str,
    structure: "Structure | Lyrics | str | Sequence[tuple[SectionTag, Sequence[int]]] | None" = None,
    rhyme: str | None = None,
    theme: str | None = None,
    seed: int = 0,
    *,
    score: "Score | None" = None,
    duration: float = 30.0,
    language: "Language" = "zh",
    seconds: float | None = None,
    tokens: int | None = None,
    model: Any = "demo",
) -> "Lyrics":
    """Write the words of a song. The same arguments give the same words, unless `seconds` runs out.

    Sections, lines and syllables are the asked ones by construction, and lines that have to rhyme
    do; no line copies five characters of another or of the description.

    Args:
        description: in plain words.
        structure: lines as in `lyrics_llm.structure`; or sections with the syllables of every line;
            or lyrics to be like. None: a form for `duration` seconds.
        rhyme: a group of the thirteen tracks such as 江阳, or a scheme such as AABA; with marked
            lines in the structure a group holds for those.
        theme: one of `corpus.words.THEMES` for the demo, anything for a Qwen3.
        score: a melody to write for: its phrases are the lines. Instead of a structure.
        duration: seconds of the song, when neither structure nor score says its form.
        language: zh, or for a Qwen3 also en and mixed.
        seconds, tokens: limits of the writing, loading not counted; the rest of the words comes from
            the corpus's book of phrases.
        model: "demo"; or a folder or name of a Qwen3; or a writer that is loaded already.
    Raises:
        RequestError: nothing is described, or something can't be served.
    """
    from lyrics_llm import author

    return author.write(
        description, structure, rhyme, theme, seed, score=score, duration=duration, language=language,
        seconds=seconds, tokens=tokens, model=model,
    )  # fmt: skip


def rewrite(
    lyrics: "Lyrics | str",
    section: int,
    line: int | None = None,
    instruction: str = "",
    *,
    description: str = "",
    count: int | None = None,
    seed: int = 0,
    language: "Language" = "zh",
    seconds: float | None = None,
    tokens: int | None = None,
    model: Any = "demo",
) -> "Lyrics":
    """Write one line or one section anew and keep the rest as it is, to the character.

    Args:
        lyrics: read, or as text with tags.
        section, line: counted from 1; the whole section when no line is given.
        instruction: what the new words are to be about; the demo reads it as a description.
        description: of the whole song; without it and an instruction the lyrics' own themes.
        count: syllables of the new lines; as many as before when None. Where the line rhymed with
            its section the new one does.
    Returns:
        Lyrics of which the asked lines differ from before.
    Raises:
        LyricsError: there is no such line.
        RequestError: nothing says what to write about, or something can't be served.
    """
    from lyrics_llm import author

    return author.rewrite(
        lyrics, section, line, instruction, description=description, count=count, seed=seed,
        language=language, seconds=seconds, tokens=tokens, model=model,
    )  # fmt: skip


def compose(
    lyrics: "Lyrics | str",
    description: str,
    seed: int = 0,
    *,
    duration: float | None = None,
    melody: "Score | None" = None,
    model: Any = "demo",
    **fixed: Any,
) -> "Score":
    """Set words to music: a lead sheet with a note or a melisma for every syllable.

    Args:
        lyrics: read, or as text with tags.
        duration: seconds, kept exactly; what the words take at ease when None.
        melody: a score of the user's whose notes are kept; the words are set to it, and chords
            where it has none.
        fixed: fields of the plan: genre, mood, theme, singer, tempo, key, swing, harmony, lead.
    Raises:
        LyricsError: the words don't fit the duration or the melody.
        RequestError: nothing is described, or a field isn't known.
    """
    from lyrics_llm import author

    return author.compose(lyrics, description, seed, duration=duration, melody=melody, model=model, **fixed)


def singability(lyrics: "Lyrics", duration: float, tempo: float | None = None) -> "Singability":
    """Judge whether words can be sung in `duration` seconds; see `lyrics_llm.singable`."""
    from lyrics_llm import singable

    return singable.singability(lyrics, duration, tempo)
