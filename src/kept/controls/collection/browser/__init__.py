"""What a real browser sees on the company's sites, and what of it the policy allows."""
