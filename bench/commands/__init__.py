"""What a command takes that runs no file, beside golang-migrate's nearest."""
