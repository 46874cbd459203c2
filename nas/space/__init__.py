"""Search spaces: reading them from YAML, sampling and counting their networks, and decoding choices."""
