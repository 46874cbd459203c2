"""Holds the cost models of architectures: counted costs, latency tables and measured latencies."""
