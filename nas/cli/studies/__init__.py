"""The commands `nas studies` and `nas studies restore`."""
