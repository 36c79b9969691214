"""What a form must meet, field by field and condition by condition; and the entrance before an application."""
