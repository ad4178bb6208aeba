"""A folder of models: where it is, whether it is whole, what is in it. Nothing heavy is imported."""

import hashlib
import json
from pathlib import Path
from typing import Any

from common.errors import CheckpointError

DEMO = "demo"  # the name of the bundled models
BUNDLED = Path(__file__).parent / "models" / DEMO
INDEX = "model_index.json"
COMPONENTS = ("vae", "chinmu", "writer", "transformer", "scheduler")
_CONFIGS = ("config.json", "scheduler_config.json")


def resolve(name: str | Path) -> Path:
    """The folder of a name: the bundled models for "demo", else the path itself."""
    return BUNDLED if str(name) == DEMO else Path(name)


def check(name: str | Path) -> Path:
    """The folder of a name, if everything that loading needs is there.

    Raises:
        CheckpointError: one sentence that names the first thing missing.
    """
    folder = resolve(name)
    if not folder.is_dir():
        if folder == BUNDLED:
            raise CheckpointError(
                "the demo models aren't installed: run `make demo-models`, or give a folder of models"
            )
        raise CheckpointError(f"there is no model folder {str(folder)!r}")
    index = _read_json(folder / INDEX, folder)
    for component in COMPONENTS:
        if not isinstance(index.get(component), list) or not all(index[component]):
            raise CheckpointError(f"the model folder {str(folder)!r} names no {component} in its {INDEX}")
        _check_component(folder / component, folder)
    return folder


def _check_component(part: Path, folder: Path) -> None:
    config = next((part / name for name in _CONFIGS if (part / name).is_file()), None)
    if config is None:
        raise CheckpointError(f"the model folder {str(folder)!r} is incomplete: {part.name}/ has no config")
    _read_json(config, folder)
    if part.name != "scheduler" and not any(part.glob("*.safetensors")):
        raise CheckpointError(f"the model folder {str(folder)!r} is incomplete: {part.name}/ has no weights")


def _read_json(path: Path, folder: Path) -> dict[str, Any]:
    name = path.relative_to(folder)
    if not path.is_file():
        raise CheckpointError(f"{str(folder)!r} isn't a model folder: it has no {name}")
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, json.JSONDecodeError) as error:
        raise CheckpointError(f"can't read {name} of the model folder {str(folder)!r}: {error}") from error
    if not isinstance(data, dict):
        raise CheckpointError(f"{name} of the model folder {str(folder)!r} isn't a JSON object")
    return data


def weights(folder: Path) -> dict[str, Path]:
    """The weight files by their path inside the folder, such as "vae/model.safetensors"."""
    return {str(path.relative_to(folder)): path for path in sorted(folder.rglob("*.safetensors"))}


def hashes(folder: Path) -> dict[str, str]:
    """SHA-256 of every weight file: what the recipe of a song names its models by."""
    return {name: _sha256(path) for name, path in weights(folder).items()}


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
