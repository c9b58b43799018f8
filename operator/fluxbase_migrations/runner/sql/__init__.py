"""SQL text: where statements end, what they are, and how they are sent as they stand."""
