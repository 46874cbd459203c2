"""How all tests run."""

from hypothesis import settings

# Machines are shared, so no example has a deadline; the same examples are tried each time.
settings.register_profile("nas", deadline=None, derandomize=True)
settings.load_profile("nas")
