"""Search spaces: YAML, choices, decoding."""
