"""The live view of a search in a terminal: what is known so far, drawn below the lines that stay."""
