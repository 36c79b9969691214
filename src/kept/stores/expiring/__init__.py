"""Rows past a clock: which are due, and taking them away window by window."""
