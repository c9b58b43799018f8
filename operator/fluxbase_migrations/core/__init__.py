"""What the operator and the runner share: files, plans, names, results and errors; standard library only."""
