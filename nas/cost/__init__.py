"""Holds the cost models of architectures: counted costs, latency tables and measured latencies."""

from nas.callable import make_callable

make_callable(__name__, "nas.api.costs.cost")
