"""What `check` says of the facts: one file for each section, one for the header."""
