"""Servers that stand in for other companies' systems, to try a policy file against before the real ones."""
