"""The reference network, which runs in every round of a measurement and to which all latencies are relative."""

from nas.arch.code import parse_text
from nas.graph.fragment import whole

# It has all kinds of layers and takes a few milliseconds on one CPU core. Latencies are measured as ratios to it, so
# that a changed network needs a new name: tables with the old name are then no longer used.
REFERENCE_NAME = "reference-1"
REFERENCE = whole(
    parse_text("""
net channels=3 resolution=160 classes=1000 padding=symmetric act=relu
stem conv k3 s2 c24
mbconv r1 k3 s1 e1 c16
mbconv r2 k3 s2 e6 c24
mbconv r2 k5 s2 e3 c40 se0.25
mbconv r2 k3 s2 e6 c80 silu
conv r1 k3 s1 c64
mbconv r2 k5 s2 e6 c160 se0.25 silu
head conv c640
""")
)
