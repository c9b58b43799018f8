"""What the operator decides: pure functions from what was observed to status, actions and Events."""
