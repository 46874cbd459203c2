"""Larger and smaller networks from one: rules, families, budgets, and the fit of a rule's coefficients."""
