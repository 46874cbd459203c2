"""An evaluator that trains shared weights for all networks of a search space once, and scores networks with them."""
