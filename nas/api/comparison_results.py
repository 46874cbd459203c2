"""The result of a comparison of networks, its rows and its JSON form."""

from collections.abc import Mapping
from typing import Any

import attrs
from attrs import frozen

from nas.api.comparison_records import AccuracyPair, ComparedNetwork, DeviceComparison
from nas.version import __version__

FORMAT = "nas-comparison/1"


@frozen
class Comparison:
    """Represent a comparison of networks side by side.

    Attributes:
        networks: The networks in the order in which they were given.
        devices: What was measured on each device.
        accuracy_pairs: Comparisons of two accuracies on the same images.
        data: Source of the images on which accuracies were measured; "" without one.
        split: Split of the images; "" without images.
        accuracy_device: Device that computed the predictions; "" without images.
        notes: Sentences about the comparison as a whole.

    >>> import nas
    >>> found = nas.compare(["mnasnet-small", "mobilenetv3-small"], seconds=0.5, precision="fp32")
    >>> [network.macs for network in found.networks]
    [68339184, 56510400]
    """

    networks: tuple[ComparedNetwork, ...]
    devices: tuple[DeviceComparison, ...]
    accuracy_pairs: tuple[AccuracyPair, ...] = ()
    data: str = ""
    split: str = ""
    accuracy_device: str = ""
    notes: tuple[str, ...] = ()

    def network(self, name: str) -> ComparedNetwork:
        """Return the network with a name."""
        return next(each for each in self.networks if each.name == name)

    def rows(self) -> list[dict[str, Any]]:
        """Return one row for each file on each device, as plain values by the names of the columns."""
        return [
            _row(network, precision, device)
            for device in self.devices
            for network in self.networks
            for precision in network.size_bytes
        ]

    def as_json(self) -> dict[str, Any]:
        """Return plain JSON values."""
        plain = attrs.asdict(self, value_serializer=lambda _owner, _field, value: _plain(value))
        for network, own in zip(plain["networks"], self.networks, strict=True):
            network["size_bytes"] = dict(own.size_bytes)
        for device, compared in zip(plain["devices"], self.devices, strict=True):
            for pair, known in zip(device["pairs"], compared.pairs, strict=True):
                pair["is_clear"] = known.is_clear
        for pair, difference in zip(plain["accuracy_pairs"], self.accuracy_pairs, strict=True):
            pair["is_clear"] = difference.is_clear
        return {"format": FORMAT, "version": __version__, "confidence": 0.95, **plain, "rows": self.rows()}


def _plain(value: Any) -> Any:
    return dict(value) if isinstance(value, Mapping) else value


def _row(network: ComparedNetwork, precision: str, device: DeviceComparison) -> dict[str, Any]:
    latency, accuracy = device.latency(network.name, precision), network.accuracy(precision)
    published = network.published_of(precision)
    top1 = published.top1 if published else None
    milliseconds = latency.latency_ms if latency else None
    value, gmacs = (accuracy.value if accuracy else None), (None if network.macs is None else network.macs / 1e9)
    return {
        "network": network.name,
        "origin": network.origin,
        "device": device.short,
        "precision": precision,
        "height": network.resolution[0],
        "width": network.resolution[1],
        "classes": network.classes,
        "macs": network.macs,
        "params": network.params,
        "size_bytes": network.size_bytes[precision],
        "peak_bytes": latency and latency.peak_bytes,
        "peak_source": latency.peak_source if latency else None,
        "latency_ms": milliseconds,
        "low_ms": latency and latency.low_ms,
        "high_ms": latency and latency.high_ms,
        "median_ms": latency and latency.median_ms,
        "p95_ms": latency and latency.p95_ms,
        "repeats": latency and latency.repeats,
        "accuracy": value,
        "accuracy_low": accuracy and accuracy.low,
        "accuracy_high": accuracy and accuracy.high,
        "accuracy_images": accuracy and accuracy.images,
        "accuracy_per_gmac": per(value, gmacs),
        "accuracy_per_ms": per(value, milliseconds),
        "published_top1": top1,
        "published_source": published.source if published else None,
        "published_top1_per_gmac": per(top1, gmacs),
        "published_top1_per_ms": per(top1, milliseconds),
    }


def per(value: float | None, cost: float | None) -> float | None:
    """Return a value for each unit of a cost; None where one of both is unknown.

    >>> per(0.5, 2.0), per(None, 2.0)
    (0.25, None)
    """
    return None if value is None or not cost else value / cost
