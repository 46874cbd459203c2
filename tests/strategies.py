"""Strategies of random architectures: every operator, skip, gate, activation and padding, small enough to run."""

from hypothesis import strategies as st

from nas.arch.spec import (
    ACTIVATIONS,
    EXPANDING_OPERATORS,
    GATE_WIDTHS,
    GATES,
    OPERATORS,
    PADDINGS,
    SKIPS,
    Architecture,
    ConvHead,
    ConvStem,
    Gate,
    Head,
    MaxPoolStem,
    MlpHead,
    Norm,
    PoolHead,
    Stage,
    Stem,
)

CHANNELS = st.integers(1, 12)
KERNELS = st.sampled_from([1, 3, 5, 7])
STRIDES = st.sampled_from([1, 1, 2, 2, 3, 4])
RATES = st.just(0.0) | st.floats(0.0, 0.9, allow_subnormal=False)


def gates() -> st.SearchStrategy[Gate]:
    """Return a strategy of squeeze-and-excitation blocks."""
    return st.builds(
        Gate,
        ratio=st.sampled_from([0.05, 0.25, 0.5, 1.0]) | st.floats(1e-3, 1.0),
        of=st.sampled_from(GATE_WIDTHS),
        activation=st.sampled_from(ACTIVATIONS),
        gate=st.sampled_from(GATES),
        divisor=st.sampled_from([1, 1, 2, 8, 64]),
    )


@st.composite
def stages(draw: st.DrawFn, channels: st.SearchStrategy[int] = CHANNELS) -> Stage:
    """Draw a stage of up to three layers; its expansion need not be a whole number."""
    operator = draw(st.sampled_from(OPERATORS))
    expands = operator in EXPANDING_OPERATORS
    return Stage(
        operator=operator,
        channels=draw(channels),
        layers=draw(st.integers(1, 3)),
        kernel=draw(KERNELS),
        stride=draw(STRIDES),
        expansion=draw(st.sampled_from([1.0, 3.0, 6.0]) | st.floats(1.0, 6.0)) if expands else 1.0,
        gate=draw(st.none() | gates()),
        skip=draw(st.sampled_from(SKIPS)),
        activation=draw(st.sampled_from(ACTIVATIONS)),
        divisor=draw(st.sampled_from([1, 1, 1, 2, 8, 64])) if expands else 1,
    )


def stems() -> st.SearchStrategy[Stem]:
    """Return a strategy of stems."""
    fields = (CHANNELS, KERNELS, STRIDES, st.sampled_from(ACTIVATIONS))
    return st.builds(ConvStem, *fields) | st.builds(MaxPoolStem, *fields)


def heads() -> st.SearchStrategy[Head]:
    """Return a strategy of heads."""
    widths, activations = st.integers(1, 24), st.sampled_from(ACTIVATIONS)
    conv = st.builds(ConvHead, widths, RATES, activations)
    return conv | st.builds(PoolHead, RATES) | st.builds(MlpHead, widths, widths, RATES, activations)


@st.composite
def architectures(draw: st.DrawFn) -> Architecture:
    """Draw an architecture of up to four stages.

    All stages share up to three numbers of channels, so that equal channels often follow each other and skips are
    possible.
    """
    channels = st.sampled_from(draw(st.lists(CHANNELS, min_size=1, max_size=3)))
    return Architecture(
        stem=draw(stems()),
        stages=tuple(draw(st.lists(stages(channels), min_size=1, max_size=4))),
        head=draw(heads()),
        resolution=draw(st.integers(8, 40)),
        in_channels=draw(st.integers(1, 4)),
        classes=draw(st.integers(1, 12)),
        padding=draw(st.sampled_from(PADDINGS)),
        norm=Norm(draw(st.floats(0.01, 1.0)), draw(st.floats(1e-5, 1e-2))),
        drop_path=draw(RATES),
    )
