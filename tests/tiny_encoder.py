"""A text encoder as small as tests need it."""

from typing import Any


def encoder(width: int = 16, inner: int = 16, places: int = 64) -> dict[str, Any]:
    """Settings of one BERT layer for `TextConfig.encoder`."""
    return {
        "model_type": "bert",
        "hidden_size": width,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
        "intermediate_size": inner,
        "max_position_embeddings": places,
    }
