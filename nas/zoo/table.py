"""The known networks as a table in Markdown, which `docs/comparing.md` holds."""

from nas.zoo.catalog import PublishedTop1, ZooNetwork, zoo_names, zoo_network

_HEADER = ("name", "network", "year", "paper", "pixels", "M params", "MMACs", "published top-1 in %")


def markdown_table() -> str:
    """Return one line for each known network, under a header.

    >>> print(markdown_table().splitlines()[5][:70])
    | `googlenet` | GoogLeNet as in torchvision, with batch norm, 3x3 inst
    """
    rows = [_HEADER, ("---",) * len(_HEADER), *(_row(zoo_network(name)) for name in zoo_names())]
    return "".join(f"| {' | '.join(row)} |\n" for row in rows)


def _row(network: ZooNetwork) -> tuple[str, ...]:
    return (
        f"`{network.name}`",
        network.title,
        str(network.year),
        network.paper,
        str(network.resolution),
        f"{network.params / 1e6:.2f}",
        f"{network.macs / 1e6:,.2f}",
        _published(network.published_top1),
    )


def _published(top1: PublishedTop1 | None) -> str:
    return "unknown" if top1 is None else f"{top1.value} ({top1.source})"
