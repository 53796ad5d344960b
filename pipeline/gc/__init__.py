"""What runs leave behind, and which of it may go: `lungseg gc`."""
