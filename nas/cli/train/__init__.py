"""`nas train`: full training of one network."""
