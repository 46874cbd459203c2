"""The search: proposals, storage, and the loop between them. The only room that knows Optuna."""
