"""The command `nas scale`."""
