"""Tuning a Qwen3 by QLoRA: LoRA on NF4 weights, chat prompts, loss on the answer alone.

Part of `python -m lyrics_llm.train`: a configuration with `chat` comes here.

    accelerate launch -m lyrics_llm.train --config lyrics_llm/configs/paper.yaml --out runs/qwen

`adapter/` in the run folder is what was learned; `python -m lyrics_llm.merge` puts it into the
weights. Checkpoints hold the adapter and the optimiser, not the base.

bitsandbytes 0.50 repacks 4-bit weights in a forward pass without gradients on CPUs with
AVX512-BF16, and later gives wrong gradients without a word; `steady` keeps it from that.

Source: Dettmers 2023, arXiv 2305.14314; Wang 2025, section 3.1.2, for the task and the data.
"""

import contextlib
import logging
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from safetensors.torch import load_file, save_file
from torch import Tensor
from transformers import AutoModelForCausalLM, AutoTokenizer, PreTrainedModel, PreTrainedTokenizerBase

from common.errors import CheckpointError, ConfigError
from common.files import whole_folder
from common.run import Run
from common.seeds import derive_seed
from lyrics_llm.chat import check_tokenizer
from lyrics_llm.chat_config import ChatConfig
from lyrics_llm.chat_data import IGNORED, Examples

logger = logging.getLogger(__name__)

_ADAPTER = "adapter.safetensors"  # in a checkpoint


# ---- models ------------------------------------------------------------------------------------


def load_base(
    name: str | Path, four_bit: bool = False, dtype: str = "auto"
) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    """A Qwen3 and its tokenizer.

    Args:
        four_bit: linear layers in NF4, double quantised.
        dtype: of the rest; auto is float32 on a CPU, bfloat16 on a GPU.
    Raises:
        CheckpointError: it can't be read, or isn't a chat model.
    """
    if str(name).startswith(("/", ".", "~")) and not Path(name).is_dir():  # no name of the hub
        raise CheckpointError(f"the language model {str(name)!r} can't be read: there is no such folder")
    kind = dtype if dtype != "auto" else "bfloat16" if torch.cuda.is_available() else "float32"
    options: dict[str, Any] = {"dtype": getattr(torch, kind)}
    if four_bit:
        options |= {"quantization_config": nf4(options["dtype"]), "device_map": _place()}
    try:
        tokenizer = AutoTokenizer.from_pretrained(str(name))
        model = AutoModelForCausalLM.from_pretrained(str(name), **options)
    except (OSError, ValueError, RuntimeError, KeyError) as error:
        reason = " ".join(str(error).split())[:300]
        raise CheckpointError(f"the language model {str(name)!r} can't be read: {reason}") from error
    check_tokenizer(tokenizer, name)
    return steady(model), tokenizer


def nf4(dtype: torch.dtype) -> Any:
    """The quantisation of QLoRA."""
    from transformers import BitsAndBytesConfig

    return BitsAndBytesConfig(
        load_in_4bit=True,
        bnb_4bit_quant_type="nf4",
        bnb_4bit_use_double_quant=True,
        bnb_4bit_compute_dtype=dtype,
    )


def _place() -> Any:
    """Where quantised weights are put: each process's own GPU, else the CPU."""
    if not torch.cuda.is_available():
        return "cpu"
    return {"": torch.cuda.current_device()}


def steady(model: PreTrainedModel) -> PreTrainedModel:
    """Keep bitsandbytes from repacking 4-bit weights on the CPU, after which gradients are wrong."""
    for module in model.modules():
        if type(module).__name__ == "Linear4bit":
            module.support_avx512bf16_for_cpu = False  # type: ignore[assignment]
    return model


def load_adapter(model: PreTrainedModel, folder: str | Path) -> Any:
    """The model with an adapter on it.

    Raises:
        CheckpointError: the folder holds none, it doesn't fit the model, or it changes nothing.
    """
    from peft import PeftModel

    if not (Path(folder) / "adapter_config.json").is_file():
        raise CheckpointError(f"{folder} holds no adapter: its adapter_config.json is missing")
    try:
        tuned = PeftModel.from_pretrained(model, str(folder))
    except (OSError, ValueError, RuntimeError, KeyError) as error:
        reason = " ".join(str(error).split())[:300]
        raise CheckpointError(f"the adapter in {folder} doesn't fit the model: {reason}") from error
    if not any(bool(p.any()) for n, p in tuned.named_parameters() if "lora_B" in n):
        raise CheckpointError(
            f"the adapter in {folder} changes nothing: it wasn't trained, or not for this model"
        )
    return tuned


def with_lora(model: PreTrainedModel, config: ChatConfig, seed: int) -> Any:
    """The model with a new adapter; only that is trained. The same seed gives the same adapter."""
    from peft import LoraConfig, get_peft_model, prepare_model_for_kbit_training

    if config.four_bit:
        model = prepare_model_for_kbit_training(
            model, use_gradient_checkpointing=config.gradient_checkpointing,
            gradient_checkpointing_kwargs={"use_reentrant": False},
        )  # fmt: skip
    elif config.gradient_checkpointing:
        model.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})
        model.enable_input_require_grads()
    torch.manual_seed(derive_seed(seed, "adapter"))
    lora = LoraConfig(
        r=config.r,
        lora_alpha=config.lora_alpha,
        lora_dropout=config.lora_dropout,
        target_modules=config.target_modules,
        task_type="CAUSAL_LM",
    )
    try:
        return get_peft_model(model, lora)
    except ValueError as error:
        raise ConfigError(f"the adapter can't be put on the model: {error}") from error


# ---- training ----------------------------------------------------------------------------------


@dataclass
class State:
    """Everything alive in training."""

    config: Any  # lyrics_llm.config.TrainConfig with `chat`
    chat: ChatConfig
    accelerator: Accelerator
    run: Run
    tokenizer: PreTrainedTokenizerBase
    model: Any  # a PeftModel, wrapped by accelerate where there are several processes
    optimizer: torch.optim.Optimizer

    @property
    def bare(self) -> Any:
        return self.accelerator.unwrap_model(self.model)


def prepare(config: Any, accelerator: Accelerator) -> State:
    """The base with a new adapter and its optimiser, brought to the last checkpoint."""
    chat = config.chat
    base, tokenizer = load_base(chat.base, chat.four_bit, chat.dtype)
    model = with_lora(base, chat, config.seed)
    learned = [p for p in model.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(learned, lr=config.lr, weight_decay=config.weight_decay, betas=(0.9, 0.999))
    model, optimizer = accelerator.prepare(model, optimizer)
    _save_adapters_only(accelerator)
    run = Run(accelerator, config.out, config, max_minutes=config.max_minutes, max_steps=config.max_steps)
    run.restore()
    return State(config, chat, accelerator, run, tokenizer, model, optimizer)


def _save_adapters_only(accelerator: Accelerator) -> None:
    """Checkpoints without the base: its quantised weights don't change."""
    from peft import get_peft_model_state_dict, set_peft_model_state_dict

    def save(models: list, weights: list, folder: str) -> None:
        if accelerator.is_main_process:
            for model in models:
                learned = get_peft_model_state_dict(accelerator.unwrap_model(model))
                save_file({k: v.contiguous().cpu() for k, v in learned.items()}, str(Path(folder) / _ADAPTER))
        weights.clear()

    def load(models: list, folder: str) -> None:
        while models:
            model = accelerator.unwrap_model(models.pop())
            outcome = set_peft_model_state_dict(model, load_file(str(Path(folder) / _ADAPTER)))
            if outcome is not None and outcome.unexpected_keys:
                raise RuntimeError(f"the adapter has {outcome.unexpected_keys[0]}, the model hasn't")

    accelerator.register_save_state_pre_hook(save)
    accelerator.register_load_state_pre_hook(load)


def losses(model: Any, ids: Tensor, labels: Tensor) -> tuple[Tensor, int]:
    """Mean cross-entropy (nats) of the answers' tokens, and their number.

    Rows are padded at the end, where a causal model needs no mask.
    """
    logits = model(input_ids=ids[:, :-1], use_cache=False).logits
    target = labels[:, 1:]
    learned = target != IGNORED
    return torch.nn.functional.cross_entropy(logits[learned].float(), target[learned]), int(learned.sum())


def step(state: State, batches: list[tuple[Tensor, Tensor]]) -> dict[str, float]:
    """One update of the adapter from several batches; a constant rate behind a linear warm-up."""
    config, accelerator = state.config, state.accelerator
    rate = config.lr * min(1.0, (state.run.step + 1) / max(1, config.warmup_steps))
    for group in state.optimizer.param_groups:
        group["lr"] = rate
    state.model.train()
    total, tokens = 0.0, 0
    for index, batch in enumerate(batches):
        last = index + 1 == len(batches)
        with contextlib.nullcontext() if last else accelerator.no_sync(state.model):
            ids, labels = (tensor.to(accelerator.device) for tensor in batch)
            with accelerator.autocast():
                loss, count = losses(state.model, ids, labels)
            accelerator.backward(loss / len(batches))
        total, tokens = total + float(loss.detach()) / len(batches), tokens + count
    learned = [p for p in state.model.parameters() if p.requires_grad]
    norm = accelerator.clip_grad_norm_(learned, config.clip)
    state.optimizer.step()
    state.optimizer.zero_grad(set_to_none=True)
    return {
        "loss/token": total,
        "train/tokens": float(tokens),
        "train/grad_norm": float(norm),
        "train/lr": rate,
    }


@torch.no_grad()
def validate(state: State) -> dict[str, float]:
    """Loss on answers of the split `valid`."""
    examples = Examples(state.chat, state.tokenizer, state.config.seed, split="valid")
    total, number = 0.0, 0
    state.model.eval()
    for index in range(state.config.valid_steps):
        ids, labels = (tensor.to(state.accelerator.device) for tensor in examples[index])
        with state.accelerator.autocast():
            loss, count = losses(state.bare, ids, labels)
        total, number = total + float(loss) * count, number + count
    state.model.train()
    return {"valid/token": total / max(1, number)}


def export(state: State) -> Path:
    """Write the adapter and the tokenizer to `adapter/` in the run folder, whole or not at all."""
    folder = state.run.folder / "adapter"
    with whole_folder(folder) as draft:
        state.bare.save_pretrained(str(draft))
        state.tokenizer.save_pretrained(str(draft))
    return folder


def _updates(examples: Examples, first: int, accumulate: int) -> Iterator[list[tuple[Tensor, Tensor]]]:
    """The batches of the updates `first`, `first` + 1, …"""
    update = first
    while True:
        yield [examples[update * accumulate + part] for part in range(accumulate)]
        update += 1


def train(config: Any, precision: str) -> Path | None:
    """Run the whole tuning; the adapter's folder (None in other than the main process).

    Raises:
        SongError: the configuration, the base or a checkpoint can't be used.
    """
    accelerator = Accelerator(mixed_precision=precision, cpu=config.cpu)
    state = prepare(config, accelerator)
    run = state.run
    learned = sum(p.numel() for p in state.bare.parameters() if p.requires_grad)
    logger.info("%.2f M parameters of the adapter are learned", learned / 1e6)
    examples = Examples(state.chat, state.tokenizer, config.seed, accelerator.process_index)
    updates = _updates(examples, run.step, state.chat.accumulate)
    return run.loop(
        lambda: step(state, next(updates)),
        lambda: export(state),
        run.log,
        log_every=config.log_steps,
        save_minutes=config.save_minutes,
        regular=[("valid", config.valid_minutes, lambda: run.log(validate(state)))],
    )
