"""The walk of a prompt, written once: description → lyrics → score → conditions → latents → song.

    pipeline = SongPipeline.from_pretrained("demo")
    song = pipeline("一首下雨天想家的慢歌，女声，钢琴", duration=30, seed=7)
    song.save("rain.flac")

What the user brings (lyrics, a score) takes the place of the first steps. The same request, seed,
weights, versions and number of threads give the same samples, bit for bit: every draw takes the
request's seed, and the recipe in the song names all of it.
"""

import logging
import platform
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from diffusers.pipelines.pipeline_utils import DiffusionPipeline

import lyrics_llm
from app import pace
from app.caption import arrangement, caption, of_score, of_sketch
from app.doctor import version
from app.folder import COMPONENTS, DEMO, check, hashes
from app.parts import load_part
from app.request import (
    GUIDANCE,
    LONGEST,
    SCORE_GUIDANCE,
    SHORTEST,
    STEPS,
    Request,
    described_seconds,
    read_score,
    title_of,
)
from app.telling import Progress, Stages, overheard
from app.tune import with_words
from chinmu.model import ChinMu
from common.abc import to_abc
from common.audio import Audio, die_away
from common.description import Audience
from common.errors import CheckpointError, RequestError, SongError
from common.files import whole_folder
from common.frames import render
from common.loudness import integrated_loudness, normalise
from common.lyrics import Lyrics
from common.pinyin import plain, units
from common.score import Score
from common.seeds import derive_seed
from common.song import Song
from corpus.attributes import Attributes, attributes
from dit.conditions import Conditions, numbered
from dit.guidance import Guidance
from dit.lyrics import encode, encode_score
from dit.model import SongTransformer
from dit.sample import sample
from lyrics_llm import requested
from lyrics_llm.sketch import SongSketch
from lyrics_llm.themes import theme_of, unthemed
from lyrics_llm.wishes import is_themed, say_unasked
from lyrics_llm.writer import Writer, say_unkept

logger = logging.getLogger(__name__)

QUIETEST = -50.0  # LUFS before mastering: nothing that was meant to sound is quieter


class SongPipeline(DiffusionPipeline):
    """Description in, song out; a diffusers pipeline of five components.

    Args:
        vae: latents to waveform (`vae.load`).
        chinmu: description to fragment vectors.
        writer: description to lyrics, lyrics to score.
        transformer: the song model.
        scheduler: its path from noise to latents.
    """

    # Set by diffusers' `register_modules`.
    vae: Any
    chinmu: ChinMu
    writer: Writer
    transformer: SongTransformer
    scheduler: Any

    model_cpu_offload_seq = "chinmu->transformer->vae"  # type: ignore[assignment]

    def __init__(
        self,
        vae: Any,  # EarVAE or SpectralVAE: one interface, two architectures
        chinmu: ChinMu,
        writer: Writer,
        transformer: SongTransformer,
        scheduler: Any,
    ) -> None:
        super().__init__()
        self.register_modules(
            vae=vae, chinmu=chinmu, writer=writer, transformer=transformer, scheduler=scheduler
        )
        if transformer.latent_dim != vae.latent_dim:
            raise CheckpointError(
                f"the song model makes latents of {transformer.latent_dim} dimensions, "
                f"but the VAE reads {vae.latent_dim}: they weren't trained together"
            )
        self.folder: Path | None = None  # where it was loaded from
        self._hashes: dict[str, str] = {}
        for module in (vae, chinmu, transformer):
            module.eval().requires_grad_(False)
        self.set_progress_bar_config(disable=True)  # progress is told by `progress`, not printed

    # ---- folders -------------------------------------------------------------------------

    @classmethod
    def from_pretrained(cls, name: str | Path = DEMO, **components: Any) -> "SongPipeline":  # type: ignore[override]
        """Load a folder of models in float32; "demo" is the bundled one.

        Args:
            components: parts that replace those of the folder, such as `transformer=…`.
        Raises:
            CheckpointError: the folder, or a part of it, can't be read; one sentence.
        """
        folder = check(name)
        if unknown := set(components) - set(COMPONENTS):
            raise CheckpointError(
                f"a pipeline has no {sorted(unknown)[0]}: its parts are {', '.join(COMPONENTS)}"
            )
        for part in COMPONENTS:
            if part not in components:
                components[part] = load_part(part, folder / part)
        pipeline = cls(**components)
        pipeline.folder = folder
        pipeline._hashes = hashes(folder)
        return pipeline

    def save_pretrained(self, folder: str | Path, **options: Any) -> None:  # type: ignore[override]
        """Write `model_index.json` and a sub-folder for each component; whole or not at all.

        Differs from diffusers, which silently leaves out a component whose base class it doesn't know.
        """
        folder = Path(folder)
        try:
            with whole_folder(folder) as draft:
                for part in COMPONENTS:
                    getattr(self, part).save_pretrained(draft / part, **options)
                self.save_config(draft)
        except OSError as error:
            raise CheckpointError(f"can't write the models to {str(folder)!r}: {error}") from error

    def to(self, *args: Any, **kwargs: Any) -> "SongPipeline":
        """Move all models; the lyric model, which diffusers doesn't see, too."""
        super().to(*args, **kwargs)
        self.writer.model.to(*args, **kwargs)
        return self

    # ---- the walk ------------------------------------------------------------------------

    def __call__(
        self,
        description: str,
        lyrics: Lyrics | str | None = None,
        score: Score | str | Path | None = None,
        *,
        duration: float | None = None,
        audience: Audience | str = Audience.AMATEUR,
        seed: int = 1,
        num_inference_steps: int = STEPS,
        guidance_scale: float = GUIDANCE,
        score_guidance_scale: float = SCORE_GUIDANCE,
        instrumental: bool | None = None,
        use_score: bool = True,
        title: str = "",
        output_type: str = "song",
        generator: torch.Generator | None = None,
        callback_on_step_end: Callable[..., Any] | None = None,
        progress: Progress | None = None,
    ) -> Any:
        """Sing a description; the arguments are those of `app.request.Request`, in looser types.

        Args:
            lyrics: as text with tags, or read; None: written from the description.
            score: read, or the path of an .abc or .mid file; None: composed for the lyrics.
            duration: seconds; None: the score's, else the description's, else 30.
            title: of the song; "": what lyrics given as text name as theirs, else their first line.
            output_type: "song" → `Song`; "latent" → latents (1, frames, latent_dim).
            generator: of the sampler's noise, in place of the one made from `seed`.
            callback_on_step_end: called as (pipeline, evaluation, t, {"latents": …}) after each evaluation
                of the model; a solver of second order has two in a step.
            progress: called as (stage, share done).
        Raises:
            SongError: the request can't be served, or the models made NaN or silence.
        """
        request = Request(
            description,
            Lyrics.parse(lyrics) if isinstance(lyrics, str) else lyrics,
            read_score(score) if isinstance(score, str | Path) else score,
            duration,
            audience,  # type: ignore[arg-type]  # the request checks names
            seed,
            num_inference_steps,
            guidance_scale,
            score_guidance_scale,
            instrumental,
            use_score,
            title or (title_of(lyrics) if isinstance(lyrics, str) else ""),
        )
        return self.sing(request, progress, output_type, generator, callback_on_step_end)

    @torch.inference_mode()
    def sing(
        self,
        request: Request,
        progress: Progress | None = None,
        output_type: str = "song",
        generator: torch.Generator | None = None,
        callback_on_step_end: Callable[..., Any] | None = None,
    ) -> Any:
        """`__call__` for a request that is checked already."""
        if output_type not in ("song", "latent"):
            raise RequestError(f"the output type is 'song' or 'latent', but got {output_type!r}")
        stages = Stages(progress)
        with overheard() as warnings:
            plan = self._plan(request, stages)
            stages.enter("reading the description")
            conditions = self._conditions(request, plan)
            stages.enter("singing")
            latents = self._sample(request, conditions, generator, callback_on_step_end, stages)
            if output_type == "latent":
                return latents
            stages.enter("decoding")
            audio = self._decode(latents, plan, request.seconds)
            stages.enter("mastering")
            audio = _mastered(audio)
        self.maybe_free_model_hooks()
        recipe = self._recipe(request, plan, custom_noise=generator is not None)
        return Song(audio, plan.lyrics, plan.score, recipe, tuple(warnings))

    def write_lyrics(self, request: Request, model: Any = None) -> tuple[Lyrics, tuple[str, ...]]:
        """Only the words of a request, and what there is to say about them.

        Args:
            model: what writes them (`lyrics_llm.author.load`), in place of the pipeline's own writer,
                whose plan it follows: form, rhyme and theme.
        """
        with overheard() as warnings:
            if request.score is not None:
                return with_words(request, request.score, model or self.writer).lyrics(), tuple(warnings)
            if request.lyrics is not None:
                return request.lyrics, ()
            return self._written(request, self._sketch(request), model), tuple(warnings)

    def write_score(self, request: Request) -> tuple[Score, tuple[str, ...]]:
        """Only the lead sheet of a request, and what there is to say about it."""
        with overheard() as warnings:
            score = self._plan(request, Stages()).score
            if score is None:
                raise RequestError("no score is written without one: leave out --no-score")
            return score, tuple(warnings)

    def is_instrumental(self, request: Request) -> bool:
        """Whether nobody sings: as asked, else as the user's words or score show, else as described."""
        if request.instrumental is not None:
            return request.instrumental
        described = attributes(request.description).get("singer") == "none"
        brought = (request.lyrics is not None and bool(request.lyrics.lines)) or bool(request.structure)
        brought |= request.score is not None and any(request.score.note_spans(sung=True))
        if brought and described:
            logger.warning(
                "the description asks for no singing, but words were given or asked for: they are sung"
            )
        return described and not brought

    def estimate_sentence(self, request: Request) -> str:
        """`estimate`, for people."""
        seconds = self.estimate(request)
        if seconds is None:
            return f"singing {request.seconds:g} s; how long it takes isn't known for these models"
        return f"singing {request.seconds:g} s: about {max(seconds, 1):.0f} s of work on this machine"

    def estimate(self, request: Request) -> float | None:
        """Seconds that singing will take on this machine; None when these models weren't measured."""
        measured = pace.read(self.folder) if self.folder else None
        return measured.seconds(request, pace.probe()) if measured else None

    @property
    def model_hashes(self) -> dict[str, str]:
        """Of each component; empty for models made in memory."""
        return dict(self._hashes)

    @property
    def stack(self) -> dict[str, str]:
        """Versions and machine: what the last bit of a sample depends on beside weights and seed."""
        return _stack(self._execution_device)

    # ---- its steps -----------------------------------------------------------------------

    def _plan(self, request: Request, stages: Stages) -> "_Plan":
        """Words and lead sheet, each the user's own or written."""
        if request.score is not None:
            score = with_words(request, request.score, self.writer)
            score = replace(score, title=score.title or request.title)
            lyrics = score.lyrics()
            if request.lyrics is not None and _syllables(request.lyrics) != _syllables(lyrics):
                logger.warning("the words of the score are sung: those given beside it are others")
            if request.score.duration < request.seconds - 2:
                logger.warning(
                    "the score ends at %.1f s: what follows it, up to %g s, has no plan",
                    request.score.duration, request.seconds,
                )  # fmt: skip
            return self._told(request, lyrics, score, of_score(score), score.meta)
        stages.enter("writing lyrics")
        sketch = self._sketch(request)
        lyrics = request.lyrics or self._written(request, sketch)
        if not request.use_score:
            say_unkept(lyrics)
            return self._told(request, lyrics, None, of_sketch(sketch, lyrics), sketch.fields())
        stages.enter("composing")
        (score,) = self.writer.composes([lyrics], [sketch], [request.seed], [request.description])
        # The writer names a score after its theme, which of the user's own words, or of a tune that nobody
        # sings, is only a guess.
        first = request.lyrics.lines[:1] if request.lyrics is not None else ()
        themed = _own_theme(request) or is_themed(request.description)
        if (first or not lyrics.lines) and not themed:
            score = unthemed(score, f"{sketch.genre}·{sketch.mood}")
        score = replace(score, title=request.title or next(map(plain, first), score.title))
        return self._told(request, lyrics.sung(), score, of_score(score), score.meta)

    def _written(self, request: Request, sketch: SongSketch, model: Any = None) -> Lyrics:
        """Words for a request that brings none; of a structure and a rhyme where they are asked."""
        asked = request.wording
        # Beside a structure, which may mark rhymes itself, the writer reads the description's.
        if not {"rhyme", "structure"} & asked.keys() and (rhyme := requested.rhyme(request.description)):
            asked["rhyme"] = rhyme
        unsung = sketch.singer == "none" and "structure" not in asked
        if unsung and asked:
            logger.warning("nobody sings in this song: the %s asked for isn't heeded", " and ".join(asked))
        if unsung or (model is None and asked.keys() <= {"theme"}):  # which the sketch has
            return self.writer.write(request.description, sketch, request.seed)
        return lyrics_llm.write(
            request.description,
            asked.get("structure") or sketch.shape,
            asked.get("rhyme"),
            asked.get("theme"),
            request.seed,
            duration=request.seconds,
            model=model or self.writer,
        )

    def _told(
        self,
        request: Request,
        lyrics: Lyrics,
        score: Score | None,
        planned: Attributes,
        named: Mapping[str, object],
    ) -> "_Plan":
        """A plan with what the song model is told of it in words and names."""
        told = caption(request.description, planned)
        players = arrangement(request.description, planned, named, self.transformer.known)
        return _Plan(lyrics, score, told, players)

    def _sketch(self, request: Request) -> SongSketch:
        """Genre, tempo, key, singer and form; what the description says outright is kept."""
        described = described_seconds(request.description)
        if request.duration is None and described not in (None, request.seconds):
            logger.warning(
                "the description asks for %g s, but a song lasts %g to %g s: it is made %g s long",
                described, SHORTEST, LONGEST, request.seconds,
            )  # fmt: skip
        fixed = {
            "singer": "none" if self.is_instrumental(request) else None,
            "theme": _own_theme(request),
        }
        if request.lyrics is None:
            say_unasked(request.description, bool(request.structure), bool(request.rhyme))
        return self.writer.plan(request.description, request.seed, request.seconds, **fixed)

    def _conditions(self, request: Request, plan: "_Plan") -> Conditions:
        """What the song model is told."""
        samples = round(request.seconds * self.vae.sample_rate)
        frames = -(-samples // self.vae.hop_length)
        vectors, mask = self.chinmu.embed_fragments([plan.caption])
        if plan.score is None:
            tokens: Sequence[int] = encode(plan.lyrics)
        else:
            tokens = encode_score(plan.score).ids
        return Conditions.single(
            frames,
            fragments=vectors[0, mask[0]],
            audience=request.audience,
            duration=request.seconds,
            lyrics=tokens,
            score=render(plan.score, self.vae.frame_rate, frames) if plan.score else None,
            arrangement=numbered(plan.arrangement, self.transformer.known),
        ).to(self._execution_device)

    def _sample(
        self,
        request: Request,
        conditions: Conditions,
        generator: torch.Generator | None,
        callback: Callable[..., Any] | None,
        stages: Stages,
    ) -> torch.Tensor:
        """Latents (1, frames, latent_dim) from noise."""
        if generator is None:
            generator = torch.Generator().manual_seed(derive_seed(request.seed, "noise"))

        def after(done: int, total: int, latents: torch.Tensor) -> None:
            stages.tell(done / total)
            if callback is not None:
                callback(self, done - 1, self.scheduler.timesteps[done - 1], {"latents": latents})

        return sample(
            self.transformer,
            conditions,
            conditions.frames,
            self.scheduler,
            request.num_inference_steps,
            Guidance(request.guidance_scale, request.score_guidance_scale),
            generator,
            callback=after,
        )

    def _decode(self, latents: torch.Tensor, plan: "_Plan", seconds: float) -> Audio:
        """Sound of exactly the asked length, before mastering."""
        length = round(seconds * self.vae.sample_rate)
        wav = self.vae.decode(latents.mT, length=length)[0].float().cpu()
        if not torch.isfinite(wav).all():
            raise SongError(
                "the VAE made samples that aren't finite: its weights may be damaged, see `baihua doctor`"
            )
        assert wav.shape[-1] == length, f"decoded {wav.shape[-1]} samples, asked for {length}"
        return Audio(wav.numpy(), self.vae.sample_rate)

    def _recipe(self, request: Request, plan: "_Plan", custom_noise: bool) -> dict[str, Any]:
        """All that the samples depend on, as JSON: with it the song can be made again."""
        asked = request.to_json()
        if custom_noise:
            asked["generator"] = "the caller's own: the seed alone doesn't make this song again"
        return {
            "baihua": version("baihua"),
            "request": asked,
            "caption": plan.caption,
            "arrangement": plan.arrangement,
            "lyrics": str(plan.lyrics),
            "score": to_abc(plan.score) if plan.score else None,
            "models": self._hashes or "made in memory",
            "stack": self.stack,
        }


@dataclass(frozen=True)
class _Plan:
    """What will be sung."""

    lyrics: Lyrics
    score: Score | None
    caption: str  # of `app.caption`
    arrangement: dict[str, str]  # role → name, of `app.caption`


def _syllables(lyrics: Lyrics) -> list[list[str]]:
    return [units(line) for line in lyrics.lines]


def _own_theme(request: Request) -> str | None:
    """The theme that is asked for, or that the user's own words speak of."""
    if request.theme or request.lyrics is None:
        return request.theme or None
    return theme_of(request.lyrics, request.description)


def _mastered(audio: Audio) -> Audio:
    """With an end that dies away, at −14 LUFS below −1 dBTP. Raises SongError for silence."""
    loudness = integrated_loudness(audio)
    if loudness < QUIETEST:
        raise SongError(
            f"the models made silence ({loudness:.0f} LUFS): try another seed or another description"
        )
    die_away(audio.samples, audio.sample_rate)
    return normalise(audio)


def _stack(device: torch.device) -> dict[str, str]:
    packages = {name: version(name) for name in ("torch", "transformers", "diffusers", "numpy")}
    machine = {
        "python": platform.python_version(),
        "device": str(device),
        "threads": str(torch.get_num_threads()),
        "cpu": torch.backends.cpu.get_cpu_capability(),
    }
    return packages | machine
