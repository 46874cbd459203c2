"""An evaluator that trains each network for a few epochs on the user's images."""
