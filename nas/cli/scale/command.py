"""`nas scale`: larger and smaller networks from one network."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any

import click
from attrs import evolve
from click.core import ParameterSource

from nas.api.engines import check_cluster
from nas.arch.multiply import KEEPABLE
from nas.cli.scale.options import ScaleOptions, read_options
from nas.cli.shared.completion import complete_architecture
from nas.cli.shared.engine import check_engine, engine_options
from nas.cli.shared.groups import Group, option
from nas.cli.shared.options import (
    ARCH_HELP,
    DEVICE_HELP,
    Number,
    NumberRange,
    adapting_options,
    figure_options,
    json_option,
    storage_option,
    training_options,
)
from nas.cli.shared.verbs import Verb
from nas.errors import ScalingError

MODES = ("phi", "family", "budget", "fit", "compare")
_GROWING = ("phi", "family", "budget")
_TRAINING = ("fit", "compare")
# Modes for which an option has a meaning; options that are not named here have one for all modes.
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
        **dict.fromkeys(("data", "epochs", "proxy_resolution", "images", "validation_share", "train_on"), _TRAINING),
        **dict.fromkeys(("seed", "seeds"), _TRAINING),
        **dict.fromkeys(("study", "html", "png"), _TRAINING),
        **dict.fromkeys(("engine", "workers", "address", "trial_cpus", "trial_gpus", "retries"), _TRAINING),
    }
)


@click.command(cls=Verb, epilog=f"{ARCH_HELP} Without ARCH, the best trial of the latest study is scaled.")
@click.argument("reference", metavar="[ARCH]", required=False, shell_complete=complete_architecture)
@option(
    Group.MODE,
    "--phi",
    "phis",
    type=Number(),
    multiple=True,
    metavar="PHI",
    help="Scale the network by this phi; fractions and negative numbers work too. May be repeated.",
)
@option(Group.MODE, "--family", is_flag=True, help="Make the family of larger networks, B1 to B7.")
@option(
    Group.MODE,
    "--budget",
    "budgets",
    multiple=True,
    metavar="NAME=AMOUNT",
    help="Make the largest network within this budget, such as flops=1.8G. May be repeated.",
)
@option(Group.MODE, "--fit", is_flag=True, help="Find alpha, beta and gamma for this network by training.")
@option(Group.MODE, "--compare", is_flag=True, help="Train what each rule makes of the network at the same --budget.")
@option(
    Group.RULE,
    "--rule",
    "rules",
    multiple=True,
    metavar="RULE",
    show_default="compound; with --family published; with --compare all but published",
    help="Scaling rule: compound, published, depth, width, resolution, fast, fast:SHARE, or alpha,beta,gamma such as "
    "1.2,1.1,1.15. May be repeated.",
)
@option(
    Group.RULE,
    "--any-product",
    is_flag=True,
    help="Allow own coefficients whose alpha*beta^2*gamma^2 is far from 2.",
)
@option(
    Group.RULE,
    "--free",
    is_flag=True,
    help="Move depth, width and resolution slightly off the rule, so that the whole budget is used.",
)
@option(
    Group.RULE,
    "--keep",
    multiple=True,
    type=click.Choice(KEEPABLE),
    help="Part that is not scaled: channels of the stem, channels of the head, features of the head's linear layer, or "
    "the number of layers of the first and last stage. The published MnasNet keeps head, MobileNetV3 features, and "
    "EfficientNet-Lite stem, head and first-last-depth. May be repeated.",
)
@adapting_options(Group.TARGET, "that of ARCH; with --fit and --compare that of the data")
@option(Group.TARGET, "--device", "devices", multiple=True, metavar="DEVICE", help=DEVICE_HELP)
@option(
    Group.TARGET,
    "--precision",
    default="fp32",
    show_default=True,
    metavar="FORMAT",
    help="Number format of weights and activations for budgets in bytes: fp32, fp16, bf16 or int8.",
)
@option(
    Group.FIT,
    "--tolerance",
    type=NumberRange(0, 1, max_open=True),
    default=0.1,
    show_default=True,
    metavar="DISTANCE",
    help="Largest distance of alpha*beta^2*gamma^2 from 2.",
)
@option(
    Group.FIT,
    "--step",
    type=NumberRange(0.01, 1),
    default=0.05,
    show_default=True,
    metavar="STEP",
    help="Step between the coefficients that are tried.",
)
@option(
    Group.FIT,
    "--at-phi",
    type=Number(),
    multiple=True,
    metavar="PHI",
    help="Larger phi, such as 2, at which the coefficients are fitted as well. May be repeated.",
)
@option(
    Group.FIT,
    "--repeat",
    type=click.IntRange(1, 100),
    default=5,
    show_default=True,
    metavar="N",
    help="Number of the best coefficients that are trained with all seeds.",
)
@option(
    Group.FIT,
    "--w",
    type=Number(),
    default=-0.07,
    show_default=True,
    metavar="W",
    help="Exponent of MACS/WANTED in the score; with 0, accuracy alone counts.",
)
@training_options(
    Group.TRAINING,
    "Height and width of the images on which ARCH itself is trained, in pixels; scaled networks are trained on "
    "larger images, in proportion.",
)
@option(
    Group.TRAINING,
    "--seed",
    type=click.IntRange(0, 2**31 - 100),
    default=0,
    show_default=True,
    metavar="N",
    help="First seed of the training runs.",
)
@option(
    Group.TRAINING,
    "--seeds",
    type=click.IntRange(1, 100),
    default=3,
    show_default=True,
    metavar="N",
    help="Number of training runs for each network, each with a seed of its own.",
)
@option(
    Group.TRAINING,
    "--study",
    default="",
    metavar="NAME",
    show_default="made from the settings",
    help="Name of the study that keeps the training runs. The same command continues it.",
)
@engine_options
@option(
    Group.OUTPUT,
    "--save",
    type=click.Path(file_okay=False, path_type=Path),
    metavar="FOLDER",
    show_default="not written; with --family NAME-RULE",
    help="Write an architecture file for each network into this folder.",
)
@option(
    Group.OUTPUT,
    "--onnx",
    is_flag=True,
    help="Write an ONNX file with random weights for each network as well.",
)
@figure_options
@storage_option
@json_option
@click.pass_context
def command(context: click.Context, /, **options: Any) -> None:
    """Scale a network to a phi, to a family or to a budget; find its coefficients, or compare rules.

    \b
    Example:
      nas scale efficientnet-b0 --phi 3
      nas scale study:demo:best --family
      nas scale mobilenetv2 --budget flops=1.8G --free
      nas scale mnasnet-a1 --budget latency=20ms --device cpu --save larger/
      nas scale mnasnet-small --fit --data photos/ --epochs 5
      nas scale mnasnet-small --compare --budget flops=200M --data photos/

    Depth is multiplied by alpha^phi, width by beta^phi and resolution by gamma^phi. If alpha*beta^2*gamma^2 is 2, each
    step of phi doubles the FLOPs, apart from rounding. FLOPs are multiply-adds.

    The options for training runs are those of --fit and --compare.
    """
    from nas.api.architectures import find_architecture, latest_winner
    from nas.cli.scale import compare, fit, grow

    given = read_options(options)
    mode = _mode(given)
    _check_options(context, mode)
    check_engine(context)
    given = evolve(given, reference=given.reference or latest_winner(given.storage))
    name, arch = find_architecture(given.reference or "", given.storage)
    arch = arch.adapted(resolution=given.resolution or arch.resolution, classes=given.classes or arch.classes)
    given = evolve(given, training=evolve(given.training, channels=arch.in_channels))
    if mode in _TRAINING:
        from nas.search.job_study import SETTINGS
        from nas.studies.early_check import check_storage

        check_storage(given.storage, given.study, SETTINGS)
        check_cluster(given.engine.engine, given.engine.address)
    if mode == "fit":
        fit.run(name, arch, given)
    elif mode == "compare":
        compare.run(name, arch, given)
    else:
        grow.run(mode, name, arch, given)


def _mode(options: ScaleOptions) -> str:
    """Return the one mode that is asked for; the budgets of a comparison are no mode of their own.

    Raises:
        ScalingError: Not exactly one mode is asked for, or a comparison has no budget.
    """
    asked = {
        "phi": bool(options.phis),
        "family": options.family,
        "fit": options.fit,
        "compare": options.compare,
        "budget": bool(options.budgets) and not options.compare,
    }
    chosen = [mode for mode in MODES if asked[mode]]
    if len(chosen) != 1:
        given = " and ".join(f"--{mode}" for mode in chosen)
        raise ScalingError(
            f"{f'{given} are given' if given else 'no mode is given'}; a command has exactly one mode",
            "give one of --phi, --family, --budget, --fit, or --compare with --budget",
        )
    if options.compare and not options.budgets:
        raise ScalingError(
            "--compare is given without --budget; rules are compared at equal cost",
            "add a budget, like --budget flops=1.8G",
        )
    return chosen[0]


def _check_options(context: click.Context, mode: str) -> None:
    """Check that all options that were given have a meaning for the mode.

    Raises:
        ScalingError: One of them has none.
    """
    for parameter in context.command.params:
        name = parameter.name or ""
        given = context.get_parameter_source(name) == ParameterSource.COMMANDLINE
        if given and mode not in ONLY_FOR.get(name, MODES):
            raise ScalingError(
                f"{parameter.opts[0]} has no meaning for --{mode}; it is for {_listed(ONLY_FOR[name])}",
                "leave it out",
            )


def _listed(modes: Sequence[str]) -> str:
    return ", ".join(f"--{mode}" for mode in modes)
