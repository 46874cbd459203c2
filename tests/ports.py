"""Ports of this machine for servers that tests start."""

import random
import socket

LOCAL = "127.0.0.1"
# Systems take the ports of outgoing connections, and of servers that leave the choice to them, from 32768 on (Linux)
# or 49152 on, so that nobody is given one of these before its server listens there.
PORTS = range(20_000, 32_000)


def free_port() -> int:
    """Return a port on which nothing listens."""
    while True:
        port = random.SystemRandom().choice(PORTS)
        with socket.socket() as probe:
            try:
                probe.bind((LOCAL, port))
            except OSError:
                continue
            return port
