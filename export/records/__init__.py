"""What an export says of itself: manifest, report, page, and their folder."""
