"""Whole recipes: from nothing to models and figures."""
