"""From a description to a plan, its lyrics and their lead sheet: a small Qwen3 under a grammar."""
