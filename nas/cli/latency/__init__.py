"""The commands `nas latency measure`, `table` and `check`."""
