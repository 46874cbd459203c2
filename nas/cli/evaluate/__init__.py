"""`nas evaluate`: the command, and its report."""
