"""Speed and memory: each file is a command that prints its ratio against a reference."""


def positive(text: str) -> int:
    """A count of at least one, as a type of argparse's arguments."""
    value = int(text)
    if value < 1:
        raise ValueError(f"at least 1 is needed, got {value}")
    return value
