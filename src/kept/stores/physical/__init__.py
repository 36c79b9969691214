"""What files hold that no query shows, and making what was deleted unreadable in them."""
