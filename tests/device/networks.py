"""Small networks for measurements, and aims of different durations."""

from nas.arch.code import parse_text
from nas.device.timing import Aim
from nas.graph.fragment import whole

SMALL = whole(parse_text("net resolution=16 classes=10\nstem conv k3 s2 c8\nconv k3 s1 c8\nhead pool"))
LARGE = whole(parse_text("net resolution=96 classes=10\nstem conv k3 s2 c32\nfused k3 s1 e4 c32 se0.25\nhead conv c64"))
HUGE = whole(parse_text("net resolution=4000 classes=10\nstem conv k3 s1 c4000\nconv k3 s1 c8\nhead pool"))
QUICK = Aim(spread=1, least=5, most=5, seconds=0)
ENDLESS = Aim(spread=0, least=5, most=100_000, seconds=3600)
LONG = Aim(spread=0, least=5, most=100_000, seconds=1.5)
