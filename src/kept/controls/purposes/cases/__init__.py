"""Cases: reasons to look at one person, each somebody's on the staff, and over by itself."""
