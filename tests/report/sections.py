"""The figures of sections, for tests."""

import plotly.graph_objects as go

from nas.report.section import Section


def drawn(section: Section, number: int = 0) -> go.Figure:
    """Return a plotly figure of a section."""
    figure = section.figures[number].figure
    assert figure is not None
    return figure
