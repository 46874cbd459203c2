"""The training loop with its recipe, learning rate, precision, memory handling and checkpoints; and full training."""

from nas.callable import make_callable

make_callable(__name__, "nas.api.train.train")
