"""What Beam runs on: settings, and what this project adds to Beam for one machine and for its workers."""
