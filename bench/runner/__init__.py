"""The runner beside golang-migrate's command line and psql."""
