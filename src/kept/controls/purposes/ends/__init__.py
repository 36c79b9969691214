"""Purposes that set the end of somebody's account: by a decision, or upon an event."""
