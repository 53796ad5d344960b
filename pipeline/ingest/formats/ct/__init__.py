"""What values of CT volumes and their masks mean."""
