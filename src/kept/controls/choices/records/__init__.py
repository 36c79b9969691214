"""What was chosen: each answer kept for good, what was shown beside it, and who stands how now."""
