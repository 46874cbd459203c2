"""The training loop with its recipe, schedules, precision, memory and checkpoints."""
