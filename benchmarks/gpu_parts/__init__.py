"""What `gpu.py` measures: its parts, the processes that run them, and the results."""
