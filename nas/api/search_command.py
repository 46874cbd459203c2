"""The command that made a study, reconstructed from the settings that the study holds."""

from collections.abc import Iterator, Mapping
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from attrs import frozen

from nas.api.architectures import file_stem
from nas.api.evaluators import FINETUNE, SUPERNET, TABLE, TRAIN, TRAINING, ZERO_COST
from nas.errors import NasError
from nas.report.commands import command_line
from nas.search.defaults import BAND, EPOCHS, SCREENED
from nas.studies.records import SOURCE

if TYPE_CHECKING:
    from nas.space.decode import SearchSpace
    from nas.studies.records import StudyView

_AROUND = "around-"
_AT, _ON = " at ", " on "  # between a target and its precision or device, in the text that a study holds
METRIC, PRUNER, UNIT = "accuracy", "median", "auto"


@frozen
class SearchCommand:
    """Hold a command that continues a study, as it was made.

    Attributes:
        words: Verb and options, not quoted.
        notes: What the study does not hold, so that the command may need more options.
        storage: URL of the database.
    """

    words: tuple[str, ...]
    notes: tuple[str, ...]
    storage: str

    def __str__(self) -> str:
        """Return the command as it is typed, without passwords."""
        return command_line(*self.words, storage=self.storage)


def search_command(view: "StudyView", storage: str) -> SearchCommand:
    """Return the command that made a study.

    With these options, a search has the settings of the study, and so continues it. Options that do not change the
    settings are not stored; neither are paths.

    Args:
        view: The study.
        storage: URL of its database.
    """
    space = _shipped(view)
    words = [word for pair in _options(view.settings, space) for word in pair]
    trials = max(1, view.counted)
    words = ["search", *words, "--trials", str(trials), "--study", view.name]
    return SearchCommand(tuple(words), tuple(_notes(view.settings, space)), storage)


def _shipped(view: "StudyView") -> "SearchSpace | None":
    """Return the space of a study if it is shipped, or around a preset; None if it has another definition now."""
    from hashlib import sha256

    from nas.api.spaces import find_space
    from nas.arch.presets import preset_names
    from nas.space.files import space_names

    with suppress(NasError):
        name = str(view.settings["space"])
        if name in (*space_names(), *(f"{_AROUND}{preset}" for preset in preset_names())):
            space = find_space(_reference(name))
            digest = sha256(space.definition.encode()).hexdigest()[:12]
            return space if digest == view.settings.get("space_sha256", digest) else None
    return None


def _reference(name: str) -> str:
    """Return what --space takes for the stored name of a space."""
    return f"around:{name.removeprefix(_AROUND)}" if name.startswith(_AROUND) else name


def _options(settings: Mapping[str, Any], space: "SearchSpace | None") -> Iterator[tuple[str, str]]:
    yield from _targets(settings)
    yield from _space(settings, space)
    yield from _evaluator(settings)
    yield from _objective(settings)
    if settings.get("seed"):
        yield "--seed", str(settings["seed"])


def _targets(settings: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    precisions, devices = set(), set()
    for text, limit in zip(settings["targets"], settings["limits"], strict=True):
        amount, _, device = str(text).partition(_ON)
        amount, _, precision = amount.partition(_AT)
        yield "--target", amount
        devices |= {device} - {""}
        precisions |= {precision} - {""}
        if function := limit.get("basis", {}).get("function"):
            yield "--cost", f"{amount.partition('=')[0]}={function}"
    yield from (("--precision", precision) for precision in sorted(precisions))
    yield from (("--device", device) for device in sorted(devices))


def _space(settings: Mapping[str, Any], space: "SearchSpace | None") -> Iterator[tuple[str, str]]:
    name, source = str(settings["space"]), settings.get(SOURCE)
    if space is None and not name.startswith(_AROUND):
        yield "--space", f"{name}.yaml"
    elif source is None or name != f"{_AROUND}{file_stem(str(source))}":
        yield "--space", _reference(name)
    single = set() if space is None else {each.name for each in space.all_choices if len(each.values) == 1}
    yield from (("--fix", f"{key}={value}") for key, value in settings.get("fixed", {}).items() if key not in single)
    # What the space, and for images their classes, give by default cannot be told apart from what was asked for.
    own = {} if space is None else space.net
    is_about_images = "data" in settings["proxy"]
    # Where the proxy task has a full resolution, the resolution is a choice, which --resolution would fix.
    is_choice = "full_resolution" in settings["proxy"]
    if not is_choice and settings.get("resolution", own.get("resolution")) != own.get("resolution"):
        yield "--resolution", str(settings["resolution"])
    if "classes" in settings and (is_about_images or settings["classes"] != own.get("classes")):
        yield "--classes", str(settings["classes"])


def _evaluator(settings: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    proxy, screen = settings["proxy"], settings.get("screen")
    text = "+".join(map(_evaluator_text, (screen, proxy))) if screen else _evaluator_text(proxy)
    usual = TRAIN if SOURCE not in settings else FINETUNE
    if text != usual:
        yield "--evaluator", text
    if SOURCE in settings:
        yield "--pretrained", str(settings[SOURCE])
    if screen and screen.get("networks", SCREENED) != SCREENED:
        yield "--screen", str(screen["networks"])
    yield from _images(proxy if "data" in proxy else screen or {})
    if options := _OPTIONS.get(str(proxy.get("evaluator"))):
        yield from options(settings, proxy)


def _evaluator_text(described: Mapping[str, Any]) -> str:
    kind = str(described.get("evaluator"))
    keys = {TABLE: "table", "python": "function", ZERO_COST: "score"}
    return f"{kind}:{described.get(keys[kind], '')}" if kind in keys else kind


def _images(described: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    if "data" not in described:
        return
    yield "--data", str(described["data"])
    yield "--proxy-resolution", str(described["resolution"])
    images = described.get("images")
    if isinstance(images, Mapping) and "train" in images:
        yield "--images", str(images["train"])


def _training(settings: Mapping[str, Any], proxy: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    if settings["epochs"] != EPOCHS:
        yield "--epochs", str(settings["epochs"])
    if proxy.get("metric", METRIC) != METRIC:
        yield "--metric", str(proxy["metric"])
    if settings.get("pruner", PRUNER) != PRUNER:
        yield "--pruner", str(settings["pruner"])


def _table(_settings: Mapping[str, Any], proxy: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    yield "--accuracy", str(proxy["column"])
    if proxy.get("unit", UNIT) != UNIT:
        yield "--accuracy-unit", str(proxy["unit"])


def _supernet(_settings: Mapping[str, Any], proxy: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    yield "--supernet-epochs", str(proxy["recipe"]["epochs"])


_OPTIONS = {**dict.fromkeys(TRAINING, _training), TABLE: _table, SUPERNET: _supernet}


def _objective(settings: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    from nas.objective import PARETO, make_reward
    from nas.samplers.defaults import SURROGATE

    objective, stored = str(settings["objective"]), settings.get("w")
    if objective != "soft":
        yield "--objective", objective
    if stored and objective != PARETO:
        usual = make_reward(objective)
        if [usual.below, usual.above] != list(stored):
            yield "--w", f"{stored[1]!r}"
    if settings.get("band", BAND) != BAND:
        yield "--band", f"{settings['band']!r}"
    if settings.get("sampler", SURROGATE) != SURROGATE:
        yield "--sampler", str(settings["sampler"])


def _notes(settings: Mapping[str, Any], space: "SearchSpace | None") -> Iterator[str]:
    """Yield what is not stored, and so may be missing."""
    yield (
        "Options that leave the settings as they are, such as --workers, --confirm, --patience, --timeout and "
        "--start-from, are not stored; --trials is the number of trials that count so far."
    )
    if space is None:
        yield (
            f"The search space {settings['space']} is stored by its name and a digest: it is no shipped space of this "
            "version, so give its own file or network."
        )
    proxy = settings["proxy"]
    if proxy.get("evaluator") == TABLE:
        yield "The table is stored by its name, without its folder; --ignore-columns is not stored."
    if "data" in proxy:
        yield "If the search was given --validation-share, add it: only the numbers of images are stored."
    if any("machine" in limit.get("basis", {}) for limit in settings["limits"]):
        yield "The host of a remote device is not stored: write --device ssh://USER@HOST?DEVICE for one."
