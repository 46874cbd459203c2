"""Costs of a user's own: functions that give the cost of a network, and the targets that limit these costs."""

import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from types import MappingProxyType
from typing import TYPE_CHECKING

from nas.api.evaluators import Function, function_name
from nas.errors import TargetError

# Functions are imported only where a search has own costs.
if TYPE_CHECKING:
    from nas.api.request import SearchRequest
    from nas.arch.spec import Architecture
    from nas.cost.base import Target
    from nas.cost.guided import GuidedCost
    from nas.cost.own import OwnCost
    from nas.cost.own_target import OwnTarget
    from nas.space.decode import SearchSpace

Say = Callable[[str], None]
Call = Callable[["Architecture"], float]
PYTHON, PYTHON_ONNX = "python", "python-onnx"
COST_FORMS: Mapping[str, str] = MappingProxyType(
    {PYTHON: "python:MODULE:FUNCTION", PYTHON_ONNX: "python-onnx:MODULE:FUNCTION"}
)
DRAWN = 256  # random networks, of which the first that have a cost are used for the guide
ROUGH = 0.15  # error of a guide above which many networks are measured that turn out to be outside the cost range
NOISY = 0.1  # standard deviation of one call above which more calls are worth it


def read_costs(texts: Iterable[str]) -> dict[str, str]:
    """Return the functions that `--cost` names, by the name of the cost.

    Raises:
        TargetError: A text is not of the form NAME=python:MODULE:FUNCTION, or a cost is given twice.
    """
    costs: dict[str, str] = {}
    for text in texts:
        name, equals, function = (word.strip() for word in text.partition("="))
        if not equals:
            raise TargetError(f"--cost {text!r} is not of the form NAME=FUNCTION", _FORM_RULE)
        if name in costs:
            raise TargetError(f"cost {name} is given twice, by {costs[name]} and by {function}", "keep one of them")
        costs[name] = function
    return costs


_FORM_RULE = f"write one like --cost energy={COST_FORMS[PYTHON]} or --cost energy={COST_FORMS[PYTHON_ONNX]}"


def check_costs(targets: Sequence[str], costs: Mapping[str, str | Function], given: frozenset[str]) -> None:
    """Check the names of own costs, the form of their functions, and that each has a target.

    Args:
        targets: Targets as users write them.
        costs: Functions by the names of the costs.
        given: Names of the options that the user gave.

    Raises:
        NasError: A rule is broken.
    """
    from nas.cost.own_target import check_cost_name, read_own_target

    limited = [target_name(text) for text in targets]
    for name, function in costs.items():
        check_cost_name(name)
        _check_form(name, function)
        if name not in limited:
            raise TargetError(f"no target limits the cost {name}", f"add one like --target {name}=12mJ")
        if limited.count(name) > 1:
            raise TargetError(f"target {name} is given twice", "give each target once")
    for text in targets:
        if target_name(text) in costs:
            read_own_target(text)
    # Under the name of the option or that of the field.
    if given & {"cost_timeout", "cost_timeout_s"} and not any(isinstance(function, str) for function in costs.values()):
        raise TargetError(
            "the time limit for costs is only for functions that another process calls, and there is none",
            f"add a cost like {COST_FORMS[PYTHON]} with a target for it, or leave the time limit out",
        )


def _check_form(name: str, function: str | Function) -> None:
    if not isinstance(function, str):
        function_name(function)
        return
    kind, _, rest = function.partition(":")
    if kind not in COST_FORMS or not rest:
        raise TargetError(
            f"cost {name} is {function!r}, which is not of the form {' or '.join(COST_FORMS.values())}", _FORM_RULE
        )


def target_name(text: str) -> str:
    """Return the name in a target, like "flops" in "flops=400M"."""
    return text.partition("=")[0].strip()


def make_own_targets(request: "SearchRequest", space: "SearchSpace", say: Say) -> "dict[str, Target]":
    """Return the targets of a search for own costs, by their texts in the request; the functions are called here.

    Args:
        request: The request.
        space: The search space, from which the networks of the guides are drawn.
        say: Function that is called with sentences about the guides, and about networks without a cost.

    Raises:
        NasError: A function cannot be imported, fails for several networks, or returns wildly different numbers.
    """
    from nas.cost.own_target import read_own_target

    own = {text: read_own_target(text) for text in request.targets if target_name(text) in request.costs}
    return {text: _target(request, each, space, say) for text, each in own.items()}


def _target(request: "SearchRequest", own: "OwnTarget", space: "SearchSpace", say: Say) -> "Target":
    from nas.cost.base import Target
    from nas.cost.own import OwnJudge
    from nas.evaluate.function import script_of

    function = request.costs[own.name]
    name = function if isinstance(function, str) else f"{PYTHON}:{function_name(function)}"
    cost = _guided(own, name, function, request, space, say)
    is_noisy = cost.single.share > 0
    return Target(
        own.name,
        own.name,
        cost,
        own.limit,
        own.text,
        own.unit,
        basis={"function": name, **({"script": script} if (script := script_of(function)) else {})},
        judge=OwnJudge(cost.single) if is_noisy else None,
        # What varies may be a measurement on this machine, which training runs would disturb.
        measured_here=is_noisy,
    )


def _guided(
    own: "OwnTarget", name: str, function: str | Function, request: "SearchRequest", space: "SearchSpace", say: Say
) -> "GuidedCost[OwnCost]":
    """Return the cost model of an own cost, after its guide was fitted."""
    from nas.cost.own import OwnCost, fit_own_cost

    call, sha256 = _caller(function, request.cost_timeout_s)
    source = f"returned by {name}" + (f" (file {sha256})" if sha256 else "")
    single = OwnCost(own.name, own.unit, name.partition(":")[2], source, call, say)
    say(f"{name} is called for a few networks of space {space.name}, to which a rough guide to {own.name} is fitted")
    begun = time.monotonic()
    cost = fit_own_cost(single, _random_networks(space, request.seed))
    for sentence in _sentences(cost, time.monotonic() - begun):
        say(sentence)
    return cost


def _sentences(cost: "GuidedCost[OwnCost]", seconds: float) -> Iterator[str]:
    from nas.api.devices import fit_error

    single, fitted = cost.single, cost.guide.correction
    yield (
        f"the guide to {single.name} took {seconds:.3g} s: {fit_error(fitted)}; candidates are chosen by it, and "
        f"{single.function} is called for each of them before it is trained"
    )
    if cost.guide.error > ROUGH:
        yield f"with a guide of this error, {single.function} is called for many networks that are then not evaluated"
    if single.share == 0:
        yield f"{single.function} returned the same numbers again, so that its costs count as exact"
        return
    remedy = "; return the mean of several measurements to make it smaller" if single.share > NOISY else ""
    yield f"repeated calls of {single.function} differ by ±{single.share:.1%} (one standard deviation){remedy}"


def _random_networks(space: "SearchSpace", seed: int) -> "Iterator[Architecture]":
    """Yield distinct random networks of a space."""
    import numpy as np

    from nas.arch.canonical import canonical

    drawn = space.sample(np.random.default_rng([seed, 1]), DRAWN)
    yield from dict.fromkeys(canonical(space.from_indices(indices)) for indices in drawn.tolist())


def _caller(function: str | Function, limit_s: float | None) -> tuple[Call, str]:
    """Return how a function is called, and the digest of its source file, "" if there is none."""
    from nas.evaluate.cost_function import CostFunction, check_parameters
    from nas.evaluate.isolated_function import load_cost

    if not isinstance(function, str):
        name = function_name(function)
        check_parameters(function, name)
        own = CostFunction(function, name)
        return own.result, own.sha256
    kind, _, rest = function.partition(":")
    call, sha256 = load_cost(rest, limit_s)
    return (partial(_call_with_file, call) if kind == PYTHON_ONNX else call), sha256


def _call_with_file(call: Callable[[object], float], arch: "Architecture") -> float:
    """Call a function with the path of an ONNX file of a network with random weights, for the time of the call."""
    from nas.graph.build import build_graph
    from nas.graph.fragment import whole

    with TemporaryDirectory(prefix="nas-cost-") as folder:
        path = Path(folder) / "network.onnx"
        path.write_bytes(build_graph(whole(arch)).SerializeToString())
        return call(str(path))
