"""Hardware-aware neural architecture search.

The names in `__all__` are the public API. Everything else is private and may change in any version.

>>> import nas
>>> nas.cost(nas.load_architecture("efficientnet-b0")).macs
385814752
"""

from nas.version import __version__

# Type checkers know this name; importing it from `typing` would take longer than everything else here.
TYPE_CHECKING = False
if TYPE_CHECKING:
    from nas.api.architectures import Architecture, load_architecture, save_architecture
    from nas.api.comparison import Comparison, compare
    from nas.api.costs import ArchitectureCost, cost
    from nas.api.evaluation import Evaluation, Prediction, evaluate_network, predict
    from nas.api.explain import Explanation, explain
    from nas.api.export import ExportedNetwork, export_model
    from nas.api.inheritance import InheritedNetwork, inherit_weights
    from nas.api.latency import LatencyMeasurement, measure_latency
    from nas.api.networks import to_onnx, to_torch
    from nas.api.push import PushedProduct, push_product
    from nas.api.report import report
    from nas.api.scaling import ScaledArchitecture, scale, scale_family, scale_to_budget
    from nas.api.search import search
    from nas.api.spaces import SearchSpace, load_space, space_around
    from nas.api.study import Study, open_study, study_names
    from nas.api.train import TrainingResult, train
    from nas.api.trained_networks import Normalization, TrainedNetwork
    from nas.api.trials import Trial
    from nas.api.verification import Verification, verify_product
    from nas.api.weights import load_weights, save_weights
    from nas.errors import (
        ArchitectureError,
        CostError,
        DataError,
        DeviceError,
        DeviceLostError,
        EvaluationError,
        MissingPackageError,
        NasError,
        ScalingError,
        SpaceError,
        StudyError,
        TargetError,
        WeightsError,
    )
else:
    # The modules of the names, which are imported when a name is used: `import nas` loads nothing else.
    _MODULES = {
        "nas.api.architectures": ("Architecture", "load_architecture", "save_architecture"),
        "nas.api.comparison": ("Comparison", "compare"),
        "nas.api.costs": ("ArchitectureCost",),
        "nas.api.evaluation": ("Evaluation", "Prediction", "evaluate_network", "predict"),
        "nas.api.explain": ("Explanation", "explain"),
        "nas.api.export": ("ExportedNetwork", "export_model"),
        "nas.api.inheritance": ("InheritedNetwork", "inherit_weights"),
        "nas.api.latency": ("LatencyMeasurement", "measure_latency"),
        "nas.api.networks": ("to_onnx", "to_torch"),
        "nas.api.push": ("PushedProduct", "push_product"),
        "nas.api.scaling": ("ScaledArchitecture", "scale", "scale_family", "scale_to_budget"),
        "nas.api.spaces": ("SearchSpace", "load_space", "space_around"),
        "nas.api.study": ("Study", "open_study", "study_names"),
        "nas.api.train": ("TrainingResult",),
        "nas.api.trained_networks": ("Normalization", "TrainedNetwork"),
        "nas.api.trials": ("Trial",),
        "nas.api.verification": ("Verification", "verify_product"),
        "nas.api.weights": ("load_weights", "save_weights"),
        "nas.errors": (
            "ArchitectureError",
            "CostError",
            "DataError",
            "DeviceError",
            "DeviceLostError",
            "EvaluationError",
            "MissingPackageError",
            "NasError",
            "ScalingError",
            "SpaceError",
            "StudyError",
            "TargetError",
            "WeightsError",
        ),
    }
    # Packages that can be called; see `nas.callable`.
    _CALLABLE = ("cost", "report", "search", "train")

    def __getattr__(name):
        """Import a public name when it is first used."""
        from importlib import import_module

        if name in _CALLABLE:
            return import_module(f"nas.{name}")
        for module, names in _MODULES.items():
            if name in names:
                value = globals()[name] = getattr(import_module(module), name)
                return value
        raise AttributeError(f"module 'nas' has no attribute {name!r}")

    def __dir__():
        """Return the public names, for completion."""
        return sorted(__all__)


__all__ = [
    "Architecture",
    "ArchitectureCost",
    "ArchitectureError",
    "Comparison",
    "CostError",
    "DataError",
    "DeviceError",
    "DeviceLostError",
    "Evaluation",
    "EvaluationError",
    "Explanation",
    "ExportedNetwork",
    "InheritedNetwork",
    "LatencyMeasurement",
    "MissingPackageError",
    "NasError",
    "Normalization",
    "Prediction",
    "PushedProduct",
    "ScaledArchitecture",
    "ScalingError",
    "SearchSpace",
    "SpaceError",
    "Study",
    "StudyError",
    "TargetError",
    "TrainedNetwork",
    "TrainingResult",
    "Trial",
    "Verification",
    "WeightsError",
    "__version__",
    "compare",
    "cost",
    "evaluate_network",
    "explain",
    "export_model",
    "inherit_weights",
    "load_architecture",
    "load_space",
    "load_weights",
    "measure_latency",
    "open_study",
    "predict",
    "push_product",
    "report",
    "save_architecture",
    "save_weights",
    "scale",
    "scale_family",
    "scale_to_budget",
    "search",
    "space_around",
    "study_names",
    "to_onnx",
    "to_torch",
    "train",
    "verify_product",
]
