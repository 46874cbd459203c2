"""An evaluator that reads accuracies from a table."""
