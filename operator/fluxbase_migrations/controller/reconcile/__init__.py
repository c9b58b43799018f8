"""One set at a time: observe, decide, apply."""
