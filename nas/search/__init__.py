"""The search itself: its plan, its run, its trials and the final selection."""
