"""`nas compare`: networks side by side on a device."""
