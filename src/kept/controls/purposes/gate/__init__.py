"""The gate before every use: compiled from the policy, decided from what is known of a person."""
