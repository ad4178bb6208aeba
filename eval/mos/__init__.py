"""Predicted opinion: what listeners would say of a song, learned from their ratings (Liu 2025, MusicEval)."""
