"""What the commands do, a module each; they print nothing but through the console they are given."""
