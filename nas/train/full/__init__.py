"""Full training of one network: its job, its epochs, the progress that survives, and the folder of its results."""
