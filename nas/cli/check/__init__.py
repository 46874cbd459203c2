"""The command `nas check`."""
