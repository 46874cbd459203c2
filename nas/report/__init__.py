"""Studies as tables and figures."""
