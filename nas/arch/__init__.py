"""Architectures as frozen values: records, a text and a JSON form, canonical forms, shapes and published networks."""
