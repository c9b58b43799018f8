"""``kubectl fluxbase``."""
