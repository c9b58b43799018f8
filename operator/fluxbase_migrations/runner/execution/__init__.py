"""Running files: in one transaction, or in groups between dirty marks."""
