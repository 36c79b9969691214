"""Full card numbers: found in texts, JSON, attachments and stores, and blotted out."""
