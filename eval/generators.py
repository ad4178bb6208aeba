"""Published text-to-music models behind one interface: MusicGen, AudioLDM, AudioLDM 2, Stable Audio Open.

    system = load("musicgen")                       # or load("musicgen", "/weights/musicgen-large")
    audio = system.generate(prompt, seconds=15, seed=0)

Conventions: weights are looked for at the given path, in `eval.embeddings.weights_root()` and in the hub's
cache; nothing is downloaded and no code of a model folder is run. A model is told the prompt's `english`
where there is one, else the prompt as it is: all of these have learned from English only, so that a
Chinese prompt asks them for more than they promise. Settings are each model card's; a song longer than
a model makes is as long as it makes, with a warning. The same seed gives the same samples on one machine.

    name           hub                                rate   channels  longest  steps
    musicgen       facebook/musicgen-small            32000  1 or 2    30 s     -
    audioldm       cvssp/audioldm-m-full              16000  1         -        10
    audioldm2      cvssp/audioldm2-music              16000  1         -        200
    stable-audio   stabilityai/stable-audio-open-1.0  44100  2         47 s     100
"""

import logging
import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from common.audio import Audio
from common.errors import CheckpointError, RequestError
from eval.embeddings import weights_root
from eval.prompts import Prompt

logger = logging.getLogger(__name__)


class System(Protocol):
    """What answers a prompt with a song. `made_by` says by what, so that a folder mixes no two makers."""

    name: str
    made_by: str

    def generate(self, prompt: Prompt, seconds: float, seed: int) -> Audio:
        """A song of at most `seconds`; the same arguments give the same samples."""
        ...


@dataclass(frozen=True)
class Weights:
    """Where the weights of published models are, when not where `locate` looks."""

    musicgen: str | None = None
    audioldm: str | None = None
    audioldm2: str | None = None
    stable_audio: str | None = None


def words(prompt: Prompt) -> str:
    """What a model of English is told."""
    return prompt.english or prompt.text


# ---- models --------------------------------------------------------------------------------


class MusicGen:
    """MusicGen by transformers (Copet 2023): sampled with a guidance of 3."""

    longest = 30.0  # seconds; what it was trained on

    def __init__(self, name: str, path: Path, device: str, steps: int | None = None) -> None:
        from transformers import AutoProcessor, MusicgenForConditionalGeneration

        self.name, self.made_by, self.device = name, str(path), device
        try:
            self.processor = AutoProcessor.from_pretrained(path, local_files_only=True)
            model = MusicgenForConditionalGeneration.from_pretrained(path, local_files_only=True)
        except Exception as error:  # transformers raises a dozen kinds for a folder that doesn't fit
            raise CheckpointError(f"MusicGen can't be loaded from {path}: {_brief(error)}") from error
        self.model: Any = model.eval().to(device)  # type: ignore[arg-type]

    def generate(self, prompt: Prompt, seconds: float, seed: int) -> Audio:
        """A song (1 or 2, time) at the codec's rate."""
        import torch

        codec = self.model.config.audio_encoder
        length = _shortened(self, seconds)
        tokens = math.ceil(length * codec.frame_rate)
        inputs = self.processor(text=[words(prompt)], padding=True, return_tensors="pt").to(self.device)
        devices = [self.device] if self.device != "cpu" else []
        with torch.random.fork_rng(devices=devices), torch.inference_mode():
            torch.manual_seed(seed)
            made = self.model.generate(**inputs, do_sample=True, guidance_scale=3.0, max_new_tokens=tokens)
        return _audio(made[0], codec.sampling_rate, length)


class Diffused:
    """A text-to-audio pipeline of diffusers.

    Args:
        pipeline: the name of its class.
        asked: name of the argument that takes the duration.
        guidance, steps: of the model card.
        longest: seconds; None where there is no limit.
        rate: sample rate of a loaded pipeline.
    """

    def __init__(
        self,
        name: str,
        path: Path,
        device: str,
        steps: int | None,
        *,
        pipeline: str,
        asked: str,
        guidance: float,
        card_steps: int,
        longest: float | None,
        rate: Callable[[Any], int],
    ) -> None:
        import diffusers

        self.name, self.made_by, self.device = name, str(path), device
        self.longest, self.steps = longest, steps or card_steps
        self._asked, self._guidance = asked, guidance
        try:
            loaded = getattr(diffusers, pipeline).from_pretrained(str(path), local_files_only=True)
        except Exception as error:  # a missing package, file or key: each of another kind
            raise CheckpointError(f"{name} can't be loaded from {path}: {_brief(error)}") from error
        self.pipeline: Any = loaded.to(device)
        self.pipeline.set_progress_bar_config(disable=True)
        self.rate = rate(self.pipeline)

    def generate(self, prompt: Prompt, seconds: float, seed: int) -> Audio:
        """A song (1 or 2, time) at the model's rate."""
        import torch

        length = _shortened(self, seconds)
        made = self.pipeline(
            words(prompt),
            num_inference_steps=self.steps,
            guidance_scale=self._guidance,
            generator=torch.Generator(self.device).manual_seed(seed),
            **{self._asked: length},
        )
        return _audio(made.audios[0], self.rate, length)


def _brief(error: Exception) -> str:
    """The first line of a message."""
    return (str(error).strip() or type(error).__name__).splitlines()[0]


def _shortened(system: Any, seconds: float) -> float:
    if system.longest is not None and seconds > system.longest:
        logger.warning("%s makes %g s where %g were asked for", system.name, system.longest, seconds)
        return system.longest
    return seconds


def _audio(made: Any, rate: int, seconds: float) -> Audio:
    """Samples (time,) or (channels, time) of an array or tensor, at most `seconds`, within full scale."""
    samples = np.asarray(made.float().cpu() if hasattr(made, "cpu") else made, dtype=np.float32)
    samples = np.atleast_2d(samples)[:, : round(seconds * rate)]
    peak = float(np.abs(samples).max(initial=0.0))
    if peak > 1:
        logger.info("a peak of %.2f is brought to full scale", peak)
        samples = samples / np.float32(peak)
    return Audio(samples, rate)


# ---- where they are ------------------------------------------------------------------------

Maker = Callable[[str, Path, str, int | None], System]


@dataclass(frozen=True)
class Published:
    """A model's home on the hub, the file that shows that it is there, and how it is loaded."""

    hub: str
    file: str
    make: Maker


def _diffused(**settings: Any) -> Maker:
    return lambda name, path, device, steps: Diffused(name, path, device, steps, **settings)


PUBLISHED: dict[str, Published] = {
    "musicgen": Published("facebook/musicgen-small", "config.json", MusicGen),
    "audioldm": Published(
        "cvssp/audioldm-m-full",
        "model_index.json",
        _diffused(
            pipeline="AudioLDMPipeline", asked="audio_length_in_s", guidance=2.5, card_steps=10, longest=None,
            rate=lambda p: p.vocoder.config.sampling_rate,
        ),
    ),
    "audioldm2": Published(
        "cvssp/audioldm2-music",
        "model_index.json",
        _diffused(
            pipeline="AudioLDM2Pipeline", asked="audio_length_in_s", guidance=3.5, card_steps=200,
            longest=None, rate=lambda p: p.vocoder.config.sampling_rate,
        ),
    ),
    "stable-audio": Published(
        "stabilityai/stable-audio-open-1.0",
        "model_index.json",
        _diffused(
            pipeline="StableAudioPipeline", asked="audio_end_in_s", guidance=7.0, card_steps=100,
            longest=47.0, rate=lambda p: p.vae.config.sampling_rate,
        ),
    ),
}  # fmt: skip


def locate(name: str, path: str | Path | None = None) -> Path:
    """The folder of a model.

    Raises:
        RequestError: there is no such model.
        CheckpointError: its weights aren't here; says what to put where.
    """
    if name not in PUBLISHED:
        raise RequestError(f"there is no model {name!r}; known are {', '.join(PUBLISHED)}")
    model = PUBLISHED[name]
    own = weights_root() / name
    for folder in (path, own):
        if folder is not None and (Path(folder) / model.file).is_file():
            return Path(folder)
    found = None if path else _cached(model)
    if found is None:
        option = f"--weights.{name.replace('-', '_')}"
        raise CheckpointError(
            f"there are no weights {f'at {path}' if path else 'on this machine'}: put the folder of "
            f"{model.hub} at {own}, or give {option}"
        )
    return found


def _cached(model: Published) -> Path | None:
    from huggingface_hub import try_to_load_from_cache

    found = try_to_load_from_cache(model.hub, model.file)
    return Path(found).parent if isinstance(found, str) else None


def load(
    name: str, path: str | Path | None = None, device: str | None = None, steps: int | None = None
) -> System:
    """A published model.

    Args:
        device: cuda where there is one when None.
        steps: of a diffusion model; its card's when None.
    Raises:
        CheckpointError: its weights aren't here or don't fit.
    """
    found = locate(name, path)
    import torch

    where = device or ("cuda" if torch.cuda.is_available() else "cpu")
    return PUBLISHED[name].make(name, found, where, steps)
