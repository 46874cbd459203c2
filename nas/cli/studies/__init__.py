"""The commands `nas studies`, `nas studies delete` and `nas studies restore`."""
