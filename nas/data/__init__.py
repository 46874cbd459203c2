"""Where images come from: one record with tensors, classes and parts."""
