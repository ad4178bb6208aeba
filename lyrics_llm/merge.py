"""Put a LoRA adapter into the weights of its base, so that the result is a plain model.

    python -m lyrics_llm.merge --adapter runs/qwen/adapter --out runs/qwen/merged

The base is read unquantised: merging into 4-bit weights would round the adapter away.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from common import config as configs
from common.errors import CheckpointError, run_command
from common.files import whole_folder


@dataclass(frozen=True)
class MergeConfig:
    """What is merged."""

    adapter: str  # folder of an adapter
    out: str  # folder of the merged model, which mustn't exist
    base: str = "Qwen/Qwen3-4B-Instruct-2507"  # name on the hub, or a folder
    dtype: Literal["bfloat16", "float32"] = "bfloat16"  # of the merged weights


def merge(config: MergeConfig) -> Path:
    """Write the merged model, whole or not at all.

    Raises:
        CheckpointError: the base or the adapter can't be used, or the folder exists already.
    """
    from lyrics_llm.qlora import load_adapter, load_base

    out = Path(config.out)
    if out.exists():
        raise CheckpointError(f"{out} exists already: name another folder for the merged model")
    if not Path(config.adapter).is_dir():  # before gigabytes of the base are read
        raise CheckpointError(f"there is no folder of an adapter {config.adapter!r}")
    base, tokenizer = load_base(config.base, dtype=config.dtype)
    merged = load_adapter(base, config.adapter).merge_and_unload(safe_merge=True)
    with whole_folder(out) as draft:
        merged.save_pretrained(str(draft))
        tokenizer.save_pretrained(str(draft))
    return out


def main(argv: Sequence[str] | None = None) -> int:
    print(merge(configs.parse(MergeConfig, argv)))
    return 0


if __name__ == "__main__":
    run_command(main)
