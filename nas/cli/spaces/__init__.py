"""`nas spaces` and `nas spaces around`."""
