"""`nas scale`: larger and smaller networks from one."""

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from importlib import import_module
from pathlib import Path
from types import MappingProxyType
from typing import Any

import click
from click.core import ParameterSource

from nas.cli.shared.on_device import DEVICE_HELP
from nas.cli.shared.options import ARCH_HELP, figure_options, json_option, storage_option, training_options
from nas.errors import ScalingError

MODES = ("phi", "family", "budget", "fit", "compare")
_GROWING = ("phi", "family", "budget")
_TRAINING = ("fit", "compare")
# What an option is about; those that are not named here are about all.
ONLY_FOR: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "free": ("budget",),
        "precision": ("budget", "compare"),
        "save": _GROWING,
        "onnx": _GROWING,
        "rules": (*_GROWING, "compare"),
        "any_product": (*_GROWING, "compare"),
        "tolerance": ("fit",),
        "step": ("fit",),
        "at_phi": ("fit",),
        "repeat": ("fit",),
        "w": ("fit",),
        **dict.fromkeys(("data", "epochs", "proxy_resolution", "images", "train_on", "seed", "seeds"), _TRAINING),
        **dict.fromkeys(("workers", "study", "html", "png"), _TRAINING),
    }
)


@click.command(epilog=f"{ARCH_HELP} Without one the best of the latest study is scaled.")
@click.argument("reference", metavar="[ARCH]", required=False)
@click.option("--phi", "phis", type=float, multiple=True, help="Scale by this; fractions and negative ones too.")
@click.option("--family", is_flag=True, help="Make B1 to B7.")
@click.option("--budget", "budgets", multiple=True, metavar="NAME=AMOUNT", help="Make the largest below: flops=1.8G.")
@click.option("--fit", is_flag=True, help="Find alpha, beta and gamma for this network by training.")
@click.option("--compare", is_flag=True, help="Train what each rule makes of it at the same --budget.")
@click.option(
    "--rule",
    "rules",
    multiple=True,
    metavar="RULE",
    help="compound, published, depth, width, resolution, fast, fast:SHARE, or alpha,beta,gamma like 1.2,1.1,1.15.  "
    "[default: compound; published for --family; for --compare all but published]",
)
@click.option("--any-product", is_flag=True, help="Allow own coefficients with alpha*beta^2*gamma^2 far from 2.")
@click.option(
    "--free", is_flag=True, help="Move depth, width and resolution a little off the rule to use the budget up."
)
@click.option(
    "--keep", multiple=True, type=click.Choice(["stem", "head"]), help="Leave its channels as they are; MnasNet: head."
)
@click.option("--resolution", type=click.IntRange(1, 10_000), help="Pixels of a side of ARCH, instead of its own.")
@click.option("--classes", type=click.IntRange(1, 10_000_000), help="Number of classes, instead of its own.")
@click.option("--device", "devices", multiple=True, metavar="DEVICE", help=DEVICE_HELP)
@click.option(
    "--precision", default="fp32", show_default=True, help="Of weights and activations, for budgets of bytes."
)
@click.option(
    "--save",
    type=click.Path(file_okay=False, path_type=Path),
    metavar="FOLDER",
    help="Write an architecture file for each network.  [default for --family: NAME-RULE]",
)
@click.option("--onnx", is_flag=True, help="Write an ONNX file for each network too; its weights are random.")
@click.option(
    "--tolerance",
    type=click.FloatRange(0, 1, max_open=True),
    default=0.1,
    show_default=True,
    help="Of the product from 2.",
)
@click.option("--step", type=click.FloatRange(0.01, 1), default=0.05, show_default=True, help="Of the grid.")
@click.option("--at-phi", type=float, multiple=True, help="Fit on larger networks too, like 2; both are shown.")
@click.option(
    "--repeat", type=click.IntRange(1, 100), default=5, show_default=True, help="The best so many get all seeds."
)
@click.option(
    "--w", type=float, default=-0.07, show_default=True, help="Exponent of MACs/wanted in the score; 0: accuracy alone."
)
@training_options("Pixels of a side at which ARCH itself is trained; it is scaled as the target's.")
@click.option("--seed", type=click.IntRange(0, 2**31 - 100), default=0, show_default=True, help="The first one.")
@click.option("--seeds", type=click.IntRange(1, 100), default=3, show_default=True, help="Trainings of one network.")
@click.option("--workers", type=click.IntRange(1, 256), default=1, show_default=True, help="Processes that train.")
@click.option("--study", default="", metavar="NAME", help="Of the trainings.  [default: made of the settings]")
@figure_options
@json_option
@storage_option
@click.pass_context
def command(context: click.Context, /, **options: Any) -> None:
    """Scale a network: to a phi, to a family, to a budget; find its coefficients, or compare rules.

    \b
    Example:
      nas scale efficientnet-b0 --phi 3
      nas scale study:demo:best --family
      nas scale mobilenetv2 --budget flops=1.8G --free
      nas scale mnasnet-a1 --budget latency=20ms --device cpu --free --save larger/
      nas scale mnasnet-small --fit --data photos/ --epochs 5
      nas scale mnasnet-small --compare --budget flops=200M --data photos/

    Depth is alpha^phi, width beta^phi, resolution gamma^phi; where alpha*beta^2*gamma^2 is 2, each step of phi doubles
    the FLOPs, but for rounding. FLOPs are multiply-adds.
    """
    mode = _mode(options)
    _check_options(context, mode)
    from nas.api.architectures import find_architecture, latest_winner

    options["reference"] = options["reference"] or latest_winner(options["storage"])
    name, arch = find_architecture(options["reference"], options["storage"])
    arch = arch.adapted(resolution=options["resolution"] or arch.resolution, classes=options["classes"] or arch.classes)
    with ExitStack() as stack:
        import_module(_MODULES[mode]).run(mode, name, arch, options, stack)


# Each has `run(mode, name, arch, options, stack)`.
_MODULES: Mapping[str, str] = MappingProxyType(
    {
        **dict.fromkeys(_GROWING, "nas.cli.scale.grow"),
        "fit": "nas.cli.scale.fit",
        "compare": "nas.cli.scale.compare",
    }
)


def _mode(options: Mapping[str, Any]) -> str:
    """The one thing that is asked for; a comparison has budgets of its own."""
    asked = {
        "phi": bool(options["phis"]),
        "family": options["family"],
        "fit": options["fit"],
        "compare": options["compare"],
        "budget": bool(options["budgets"]) and not options["compare"],
    }
    chosen = [mode for mode in MODES if asked[mode]]
    if len(chosen) != 1:
        given = " and ".join(f"--{mode}" for mode in chosen)
        given = f"{given} are given" if given else "none is given"
        raise ScalingError(
            f"one thing is made at a time, and {given}",
            "give --phi, --family, --budget, --fit, or --compare with --budget",
        )
    if options["compare"] and not options["budgets"]:
        raise ScalingError("rules are compared at equal cost, and none is given", "add one like --budget flops=1.8G")
    return chosen[0]


def _check_options(context: click.Context, mode: str) -> None:
    """An option that would be passed over is refused."""
    for parameter in context.command.params:
        name = parameter.name or ""
        given = context.get_parameter_source(name) == ParameterSource.COMMANDLINE
        if given and mode not in ONLY_FOR.get(name, MODES):
            raise ScalingError(
                f"{parameter.opts[0]} has no meaning for --{mode}",
                f"leave it out; it is for {_listed(ONLY_FOR[name])}",
            )


def _listed(modes: Sequence[str]) -> str:
    return ", ".join(f"--{mode}" for mode in modes)
