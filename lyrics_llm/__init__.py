"""From a description to lyrics, and from lyrics to their lead sheet."""
