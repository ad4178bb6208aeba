"""Speed and memory: each file is a command that prints its ratio against a reference."""
