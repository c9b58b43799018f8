"""The local cluster of ``make up``, and what tests and benchmarks share."""
