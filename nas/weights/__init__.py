"""Networks with trained weights: pretrained sources, files, inheritance between architectures, and statistics."""
