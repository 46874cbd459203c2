"""This package scales networks by rules, to families and to budgets, and fits the coefficients of a rule."""
