"""The command `nas pareto`."""
