"""How good an architecture is: accuracy by epoch."""
