"""The search itself: its plan, its run, its trials and the final selection."""

from nas.callable import make_callable

make_callable(__name__, "nas.api.search.search")
