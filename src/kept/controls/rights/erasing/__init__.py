"""Erasure: what goes and what stays, the time to come back, clean files, and erasing again."""
