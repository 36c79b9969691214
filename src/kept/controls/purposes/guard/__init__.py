"""The policy inside PostgreSQL itself: roles, columns, rows, groups, card numbers; planned, applied, taken back."""
