"""ChinMu: text and audio in one space."""
