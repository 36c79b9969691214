"""What people see of each other: by a public page, and the two sides of a tie, as a decision and as a SQL condition."""
