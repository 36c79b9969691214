"""Benchmarks: each prints its own peers beside it. `make bench` runs them all."""
