"""Taking rows away or emptying them, putting them back, and looking for what remains of somebody."""
