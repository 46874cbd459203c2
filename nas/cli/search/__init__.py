"""The command `nas search`."""
