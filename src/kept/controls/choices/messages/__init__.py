"""Messages: who may be written to, how they say yes twice, and how they leave."""
