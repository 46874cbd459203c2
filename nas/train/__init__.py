"""The training loop with its recipe, learning rate, precision, memory handling and checkpoints."""
