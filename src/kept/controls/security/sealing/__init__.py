"""Sealed columns: how a value is sealed and opened again, with which keys, and how those are changed."""
