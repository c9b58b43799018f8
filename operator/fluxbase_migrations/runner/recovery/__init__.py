"""After a crash: what the history and the catalog prove, and what is done about it."""
