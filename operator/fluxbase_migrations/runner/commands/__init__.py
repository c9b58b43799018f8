"""What is run: the Job's one track, and each command of the command line."""
