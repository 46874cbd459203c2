"""What is stored: studies in an Optuna database, their records, reservations, heartbeats, locks and journals."""
