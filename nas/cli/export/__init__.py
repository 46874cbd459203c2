"""`nas export`: the command, and its report."""
