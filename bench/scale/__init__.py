"""Many sets: what an operator costs with thousands at rest, and with a hundred at once."""
