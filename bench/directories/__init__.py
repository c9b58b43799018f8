"""Directories of real applications: the runner beside golang-migrate's command line on each."""
