"""Stores that are not SQL: people as records behind an API (HubSpot, Stripe, OpenDSR), and files in a folder."""
