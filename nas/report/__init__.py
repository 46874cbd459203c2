"""This package shows studies as tables, figures and files."""
