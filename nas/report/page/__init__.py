"""The report page of a study: its answers, its networks and its sections, computed before they are rendered."""
