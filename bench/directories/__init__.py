"""Directories as applications have them: the runner beside golang-migrate's command line on each."""
