"""A run: its configuration, the names of its files, what is stored and what is printed."""
