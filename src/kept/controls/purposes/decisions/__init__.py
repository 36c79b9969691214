"""Decisions that a person must take: proposed, decided by somebody with a name, carried out, told, on record."""
