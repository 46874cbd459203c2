"""`nas scale`: larger and smaller networks from one network."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import click
from attrs import evolve
from click.core import ParameterSource

from nas.api.engines import check_cluster
from nas.api.inheritance import Inheritance
from nas.api.weights import inspect_source
from nas.arch.multiply import KEEPABLE
from nas.cli.scale.options import ScaleOptions, read_options
from nas.cli.shared.completion import complete_architecture
from nas.cli.shared.engine import check_engine, engine_options
from nas.cli.shared.groups import Group, option
from nas.cli.shared.options import (
    ARCH_HELP,
    DEVICE_HELP,
    adapting_options,
    figure_options,
    json_option,
    storage_option,
    training_options,
)
from nas.cli.shared.parameter_types import Number, NumberRange
from nas.cli.shared.printing import say
from nas.cli.shared.verbs import Verb
from nas.errors import ScalingError
from nas.weights.forms import names_weights

if TYPE_CHECKING:
    from nas.arch.spec import Architecture
    from nas.weights.sources import LoadedSource

MODES = ("phi", "family", "budget", "fit", "compare")
_GROWING = ("phi", "family", "budget")
_TRAINING = ("fit", "compare")
# Options that name images; without training runs they are for weights.
_IMAGES = ("data", "images", "validation_share", "train_on")
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
        **dict.fromkeys(("pretrained", "normalization"), _GROWING),
        **dict.fromkeys(("epochs", "proxy_resolution"), _TRAINING),
        **dict.fromkeys(("seed", "seeds"), _TRAINING),
        **dict.fromkeys(("study", "html", "png"), _TRAINING),
        **dict.fromkeys(("engine", "workers", "address", "trial_cpus", "trial_gpus", "retries"), _TRAINING),
    }
)


@click.command(
    cls=Verb,
    epilog=f"{ARCH_HELP} Without ARCH, the network of --pretrained "
    "or the best trial of the latest study is scaled. An ARCH such as timm:NAME, torchvision:NAME, hub:OWNER/NAME or a "
    ".safetensors or .pth file is the same as --pretrained ARCH; the name of a preset means no weights.",
)
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
@option(
    Group.WEIGHTS,
    "--pretrained",
    metavar="SOURCE",
    show_default="no weights",
    help="Let the scaled networks inherit the weights of this source, as `nas weights` reads it. With --data, the "
    "accuracy before any further training is measured where the classes are the same.",
)
@option(
    Group.WEIGHTS,
    "--normalization",
    metavar="NORM",
    show_default="that of SOURCE",
    help="Normalization of the images: imagenet, 0..1, -1..1, or MEAN/STD of pixel values from 0 to 1.",
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
    help="Write an architecture file, and with --pretrained a .safetensors file, for each network into this folder.",
)
@option(
    Group.OUTPUT,
    "--onnx",
    is_flag=True,
    help="Write an ONNX file for each network as well, with random weights or those of --pretrained.",
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
      nas scale --pretrained efficientnet-lite0 --phi 1 --save grown/
      nas scale mnasnet-small --fit --data photos/ --epochs 5
      nas scale mnasnet-small --compare --budget flops=200M --data photos/

    Depth is multiplied by alpha^phi, width by beta^phi and resolution by gamma^phi. If alpha*beta^2*gamma^2 is 2, each
    step of phi doubles the FLOPs, apart from rounding. FLOPs are multiply-adds.

    The options for training runs are those of --fit and --compare. With --pretrained, --data, --images,
    --validation-share and --train-on are used too.
    """
    from nas.cli.scale import compare, fit, grow

    given = read_options(options)
    mode = _mode(given)
    _check_options(context, mode)
    check_engine(context)
    given = _with_weights(given, mode)
    if mode in _GROWING:
        _check_images(context, given)
    source = None if given.pretrained is None else inspect_source(given.pretrained, given.normalization)
    name, arch = _find_network(given, source)
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
        images = given.training if context.get_parameter_source("data") == ParameterSource.COMMANDLINE else None
        grow.run(mode, name, arch, given, None if source is None else Inheritance(source.network, images, say))


def _with_weights(options: ScaleOptions, mode: str) -> ScaleOptions:
    """Return the options with an ARCH that names weights as `--pretrained`.

    Raises:
        ScalingError: Weights are named twice, or the mode trains from random weights.
    """
    reference = options.reference
    if reference is None or not names_weights(reference):
        return options
    if mode in _TRAINING:
        raise ScalingError(
            f"{reference!r:.200} names weights, and --{mode} trains from random weights", "name an architecture"
        )
    if options.pretrained is not None:
        raise ScalingError(
            f"both ARCH, {reference!r:.200}, and --pretrained name weights; they come from one source",
            "leave ARCH out, or name an architecture",
        )
    return evolve(options, reference=None, pretrained=reference)


def _find_network(options: ScaleOptions, source: "LoadedSource | None") -> "tuple[str, Architecture]":
    """Return the network to scale with its name."""
    from nas.api.architectures import find_architecture, latest_winner

    if options.reference is None and source is not None:
        return source.name, source.network.arch
    return find_architecture(options.reference or latest_winner(options.storage), options.storage)


def _check_images(context: click.Context, options: ScaleOptions) -> None:
    """Check that options about images are given only where images are used.

    Raises:
        ScalingError: There are no weights whose accuracy could be measured on images, or no images.
    """
    by_user = [name for name in _IMAGES if context.get_parameter_source(name) == ParameterSource.COMMANDLINE]
    if options.pretrained is None and (by_user or options.normalization is not None):
        flag = by_user[0].replace("_", "-") if by_user else "normalization"
        raise ScalingError(
            f"--{flag} is given without weights; scaling an architecture uses no images",
            "add --pretrained SOURCE, or leave it out",
        )
    if by_user and "data" not in by_user:
        raise ScalingError(f"--{by_user[0].replace('_', '-')} is given without images", "add --data, or leave it out")


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
