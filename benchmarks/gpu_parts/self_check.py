"""Every CUDA path of training and evaluation, beside its result on the CPU where there is one.

Each item says whether it passed, and gives the figures by which that was decided. A GPU adds numbers in another order
than a CPU, and training amplifies the differences, so losses are compared over the first steps only.
"""

import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from statistics import median
from types import MappingProxyType
from typing import Any, TypeVar

import attrs
import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from gpu_parts.bench import Bench, NeedsError, small_network
from gpu_parts.recording import COMPARED, cuda_graphs, losses_of
from nas.arch.canonical import canonical
from nas.arch.presets import preset
from nas.arch.spec import Architecture
from nas.cost.analytic import COUNTED
from nas.cost.target import parse_target
from nas.evaluate.short_training.evaluator import TrainEvaluator
from nas.evaluate.supernet.evaluator import SupernetEvaluator
from nas.evaluate.supernet.recipe import SupernetRecipe
from nas.evaluate.supernet.weights import without_regularization
from nas.evaluate.zero_cost.naswot import Naswot
from nas.models.build import build_model
from nas.space.files import find_space
from nas.train.loop import OnBatch
from nas.train.memory import free_device_memory
from nas.train.recipe import Recipe
from nas.train.seeded import seeded

T = TypeVar("T")
Step = Callable[[], Tensor]
# Largest mean relative difference of these losses from those of fp32 on the CPU. bf16 has 8 bits of mantissa, which
# round a value by up to 0.4%; TF32 and fp16 have 11.
LOSS_LIMITS: Mapping[str, float] = MappingProxyType({"fp32": 0.01, "tf32": 0.02, "fp16": 0.02, "bf16": 0.05})
# Largest difference of an accuracy that the same weights, or the same seed, give in two places.
ACCURACY_LIMIT = 0.02


def _train(precision: str) -> Callable[[Bench], dict[str, Any]]:
    """Return the check of training in one precision: its losses follow those of fp32 on the CPU."""

    def check(bench: Bench) -> dict[str, Any]:
        if precision == "tf32" and not bench.is_cuda:
            raise NeedsError("a GPU with TF32")
        data = bench.made_up(bench.sizes.resolution, 16 * COMPARED)
        recipe = Recipe(batch_size=16, precision=precision)
        true, _ = losses_of(data, "cpu", attrs.evolve(recipe, precision="fp32"), bench.seed)
        start = time.perf_counter()
        found, accuracy = losses_of(data, bench.device, recipe, bench.seed)
        seconds = time.perf_counter() - start
        gaps = [abs(a - b) / abs(b) for a, b in zip(found[:COMPARED], true[:COMPARED], strict=True)]
        limit = LOSS_LIMITS[precision]
        return {
            "passed": float(np.mean(gaps)) <= limit,
            "loss_difference": float(np.mean(gaps)),
            "limit": limit,
            "last_loss": found[-1],
            "accuracy": accuracy,
            "training_seconds": seconds,
        }

    return check


def channels_last(bench: Bench) -> dict[str, Any]:
    """Check that a model gives the same logits in both memory layouts, and compare the time of its training steps."""
    arch = _on(preset(bench.sizes.network), bench.sizes.photo)
    images = torch.rand(32, 3, bench.sizes.photo, bench.sizes.photo, device=bench.device)
    logits = dict[str, Tensor]()
    steps = dict[str, Step]()
    for name, layout in (("channels first", torch.contiguous_format), ("channels last", torch.channels_last)):
        model = _model(arch, bench).to(memory_format=layout)  # type: ignore[call-overload]
        placed = images.contiguous(memory_format=layout)
        with torch.no_grad(), seeded(bench.seed, bench.device):
            logits[name] = model.eval()(placed)
        steps[name] = _stepper(model, placed, bench)
    first, last = logits.values()
    gap = float((first - last).abs().max() / first.abs().max())
    return {"passed": gap <= 1e-3, "logit_difference": gap, "limit": 1e-3} | _compare_steps(steps, bench)


def compiled(bench: Bench) -> dict[str, Any]:
    """Check that a compiled model has the same loss, and compare the time of training steps for two batch sizes."""
    arch = without_regularization(_on(preset(bench.sizes.network), bench.sizes.resolution))
    found: dict[str, Any] = {}
    for batch in (32, 256) if bench.is_cuda else (4,):
        images = torch.rand(batch, 3, bench.sizes.resolution, bench.sizes.resolution, device=bench.device)
        placed = images.contiguous(memory_format=torch.channels_last)
        steps, seconds, losses = dict[str, Step](), dict[str, float](), dict[str, float]()
        for name, options in (("eager", None), *bench.sizes.compiled):
            model = _model(arch, bench).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
            run = model if options is None else torch.compile(model, **dict(options))
            steps[name] = _stepper(run, placed, bench)
            start = time.perf_counter()
            losses[name] = steps[name]().item()
            seconds[name] = time.perf_counter() - start
        gap = max(abs(loss - losses["eager"]) / losses["eager"] for loss in losses.values())
        found[f"batch {batch}"] = _compare_steps(steps, bench) | {
            "first_step_seconds": seconds,
            "loss_difference": gap,
            "limit": LOSS_LIMITS["bf16"],
        }
    return {"passed": all(each["loss_difference"] <= each["limit"] for each in found.values()), **found}


def out_of_memory(bench: Bench) -> dict[str, Any]:
    """Check that a training run for which memory runs out starts again with half the batch, and ends.

    On a CPU the error is only simulated: a limit of the memory would also end oneDNN, which does not recover from it.
    """
    data = bench.made_up(bench.sizes.oom_side, 512 if bench.is_cuda else 32)
    asked = 256 if bench.is_cuda else 16
    recipe = Recipe(batch_size=asked)
    evaluator = TrainEvaluator(
        data, bench.seed, bench.device, recipe, on_batch=None if bench.is_cuda else _one_memory_error()
    )
    arch = preset(bench.sizes.network)
    with _limited_memory(bench):
        *_, accuracy = evaluator.evaluate(arch, 1)
    free_device_memory(bench.device)
    batch = evaluator.metadata(arch).get("batch_size")
    return {"passed": batch is not None, "batch_size": batch, "asked_batch_size": asked, "accuracy": accuracy}


def _one_memory_error() -> OnBatch:
    """Return a callback that raises an error once."""
    errors = [MemoryError()]

    def on_batch(_done: int, _all: int, _loss: float) -> None:
        if errors:
            raise errors.pop()

    return on_batch


@contextmanager
def _limited_memory(bench: Bench) -> Iterator[None]:
    """Leave so little memory of the GPU to this process that a large batch does not fit."""
    if not bench.is_cuda:
        yield
        return
    # This function takes no device without an index, as "cuda" is.
    index = torch.device(bench.device).index or torch.cuda.current_device()
    total = torch.cuda.get_device_properties(index).total_memory
    torch.cuda.set_per_process_memory_fraction(bench.sizes.oom_bytes / total, index)
    try:
        yield
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0, index)


def checkpoint(bench: Bench) -> dict[str, Any]:
    """Check that a training run that was stopped after its first epoch ends as one that was not."""
    data, arch, epochs = bench.made_up(bench.sizes.resolution, 256), small_network(), 3
    plain = TrainEvaluator(data, bench.seed, bench.device)
    whole = list(plain.evaluate(arch, epochs))
    with tempfile.TemporaryDirectory() as folder:
        saving = attrs.evolve(plain, checkpoints=Path(folder), checkpoint_s=0.0)
        first = list(islice(saving.evaluate(arch, epochs), 1))
        files = len(list(Path(folder).iterdir()))
        # A new evaluator stands for a new process: it knows of the stopped run by its file only.
        resumed = list(attrs.evolve(saving).evaluate(arch, epochs))
    gap = max(abs(a - b) for a, b in zip(whole, resumed, strict=True))
    return {
        "passed": files == 1 and gap <= (ACCURACY_LIMIT if bench.is_cuda else 0.0),
        "accuracies": whole,
        "resumed": resumed,
        "stopped_after": first,
        "largest_difference": gap,
        "identical": whole == resumed,
    }


def two_workers(bench: Bench) -> dict[str, Any]:
    """Check that two worker processes on one device give the accuracies of one, and compare their time."""
    from nas.search.plan import plan
    from nas.search.run import run
    from nas.search.settings import Settings
    from nas.workers.processes import make_workers

    space = find_space("nasbench_macro")
    data = bench.made_up(bench.sizes.resolution, bench.sizes.images if bench.is_cuda else 32)
    trials = 8 if bench.is_cuda else 2
    accuracies, seconds = dict[int, dict[str, float]](), dict[int, float]()
    for count in (1, 2):
        evaluator = TrainEvaluator(data, bench.seed, bench.device)
        settings = Settings(
            (parse_target("flops=1G"),),
            trials=trials,
            epochs=1,
            seed=bench.seed,
            objective="hard",
            sampler="random",
            band=0.0,
            confirm=0,
            workers=count,
        )
        with tempfile.TemporaryDirectory() as folder:
            start = time.perf_counter()
            view = run(
                plan(space, evaluator, settings, COUNTED),
                storage=f"sqlite:///{folder}/nas.db",
                workers=make_workers(2) if count == 2 else None,
            )
            seconds[count] = time.perf_counter() - start
        accuracies[count] = {each.arch: each.accuracy for each in view.records if each.accuracy is not None}
    common = accuracies[1].keys() & accuracies[2].keys()
    gap = max((abs(accuracies[1][arch] - accuracies[2][arch]) for arch in common), default=None)
    return {
        "passed": len(accuracies[2]) == trials and gap is not None and gap <= ACCURACY_LIMIT,
        "trials": len(accuracies[2]),
        "compared_networks": len(common),
        "largest_difference": gap,
        "seconds_one_process": seconds[1],
        "seconds_two_workers": seconds[2],
    }


def supernet(bench: Bench) -> dict[str, Any]:
    """Train a supernet on the device, and check that its networks have the same accuracies on the CPU."""
    space = find_space("nasbench_macro")
    data = bench.made_up(bench.sizes.resolution, 256 if bench.is_cuda else 64, classes=10)
    networks = [
        canonical(space.from_indices(row)) for row in space.sample(np.random.default_rng(bench.seed), 3).tolist()
    ]
    with tempfile.TemporaryDirectory() as folder:
        there = SupernetEvaluator(
            space, data, Path(folder), SupernetRecipe(epochs=2), seed=bench.seed, device=bench.device
        )
        start = time.perf_counter()
        there.prepare()
        seconds = time.perf_counter() - start
        here = attrs.evolve(there, device="cpu")  # reads the weights that were trained on the device
        found = {name: [next(each.evaluate(arch, 1)) for arch in networks] for name, each in _named(there, here)}
    gap = max(abs(a - b) for a, b in zip(found["device"], found["cpu"], strict=True))
    return {"passed": gap <= ACCURACY_LIMIT, "largest_difference": gap, "training_seconds": seconds} | found


def zero_cost(bench: Bench) -> dict[str, Any]:
    """Check that the zero-cost scores of a few networks are those of the CPU."""
    space, data = find_space("nasbench_macro"), bench.made_up(bench.sizes.resolution, 64)
    networks = [space.from_indices(row) for row in space.sample(np.random.default_rng(bench.seed), 4).tolist()]
    scorers = _named(Naswot(data, bench.seed, bench.device), Naswot(data, bench.seed, "cpu"))
    found = {name: [scorer.scores(arch)["naswot"] for arch in networks] for name, scorer in scorers}
    gap = max(abs(a - b) / abs(b) for a, b in zip(found["device"], found["cpu"], strict=True))
    return {"passed": gap <= 1e-2, "largest_relative_difference": gap, "limit": 1e-2} | found


def _named(there: T, here: T) -> Sequence[tuple[str, T]]:
    return (("device", there), ("cpu", here))


def _on(arch: Architecture, side: int) -> Architecture:
    return arch.adapted(resolution=side, classes=10)


def _model(arch: Architecture, bench: Bench) -> nn.Module:
    with seeded(bench.seed, bench.device):
        return build_model(arch).to(bench.device)


def _stepper(model: Any, images: Tensor, bench: Bench) -> Step:
    """Return a training step of a model on the same images; it returns the loss."""
    labels = torch.arange(len(images), device=bench.device) % 10
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-3, momentum=0.9)
    kind = torch.device(bench.device).type

    def step() -> Tensor:
        model.train()
        with torch.autocast(kind, torch.bfloat16, enabled=bench.is_cuda):
            logits = model(images)
        optimizer.zero_grad()
        loss = functional.cross_entropy(logits.float(), labels)
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        return loss.detach()

    return step


def _compare_steps(steps: Mapping[str, Step], bench: Bench) -> dict[str, Any]:
    """Time steps in turn; the ratios are to the first one, with their smallest and largest value."""
    times: dict[str, list[float]] = {name: [] for name in steps}
    for repeat in range(bench.sizes.steps + 2):
        for name, step in steps.items():
            bench.synchronize()
            start = time.perf_counter()
            step()
            bench.synchronize()
            if repeat >= 2:  # the first ones warm up
                times[name].append(time.perf_counter() - start)
    base, *others = steps
    ratios = {name: sorted(a / b for a, b in zip(times[base], times[name], strict=True)) for name in others}
    return {
        "milliseconds": {name: 1000 * median(each) for name, each in times.items()},
        "times_faster": {
            name: {"median": median(each), "min": each[0], "max": each[-1]} for name, each in ratios.items()
        },
    }


ITEMS: Mapping[str, Callable[[Bench], dict[str, Any]]] = MappingProxyType(
    {
        **{precision: _train(precision) for precision in LOSS_LIMITS},
        "channels-last": channels_last,
        "out-of-memory": out_of_memory,
        "cuda-graphs": cuda_graphs,
        "checkpoint": checkpoint,
        "two-workers": two_workers,
        "supernet": supernet,
        "zero-cost": zero_cost,
        "compiled": compiled,
    }
)
