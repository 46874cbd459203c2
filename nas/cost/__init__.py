"""What an architecture costs."""

from nas.callable import make_callable

make_callable(__name__, "nas.api.costs.cost")
