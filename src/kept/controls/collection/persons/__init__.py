"""Of whom something may be collected: by age, with a guardian's permission, verified."""
