"""Evaluators, which give the accuracy of an architecture after each epoch."""
