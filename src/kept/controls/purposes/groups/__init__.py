"""Answers about groups of people: never about fewer than the purpose's floor, whatever is subtracted from what."""
