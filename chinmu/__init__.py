"""Text and audio in one space: ChinMu gives a Chinese description and a song vectors that can be compared."""
