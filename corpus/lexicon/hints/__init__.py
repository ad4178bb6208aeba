"""How people hint at a theme, a mood, a genre, a singer or a pace without naming it, written by hand."""
