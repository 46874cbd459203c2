"""Tables, figures and pages of studies: what they show is computed apart from how it is drawn."""

from nas.callable import make_callable

make_callable(__name__, "nas.api.report.report")
