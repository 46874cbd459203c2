"""Tests of the documentation: generated pages, links, formats, search, and answers to questions."""
