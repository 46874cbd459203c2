"""Holds the parts that several commands share: options, printing, progress and verbosity."""
