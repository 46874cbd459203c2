"""Keys of reservations: what no two trials of a study may evaluate."""

import hashlib
import json
from collections.abc import Collection, Mapping
from typing import Any

# User attributes of a trial: the text of its architecture, and for a job of a fixed list what it trains and its seed.
ARCH, TRAINED, SEED = "arch", "trained", "seed"
KEY_ATTRIBUTES = (ARCH, TRAINED, SEED)


def digest(text: str) -> str:
    """Return a hash of a text that is short enough for an index of any database."""
    return hashlib.sha256(text.encode()).hexdigest()


def reservation_key(attributes: Mapping[str, Any]) -> str:
    """Return the key that a trial reserves, by its user attributes.

    A trial of a search reserves its architecture, and a job of a fixed list what it trains together with its seed.
    """
    if TRAINED in attributes:
        return digest(f"{attributes[TRAINED]}\nseed {attributes.get(SEED)}")
    return digest(attributes[ARCH])


def trial_key(trial_id: int) -> str:
    """Return the key of a reservation whose architecture other trials may reserve: it depends on its trial alone."""
    return digest(f"trial {trial_id}")


def stored_key(values: Collection[str | None]) -> str:
    """Return the key that a stored trial reserves, by its `KEY_ATTRIBUTES` as JSON; "" where it has no architecture."""
    stored = {name: json.loads(value) for name, value in zip(KEY_ATTRIBUTES, values, strict=True) if value}
    # Other programs may keep anything under these names.
    return reservation_key(stored) if isinstance(stored.get(TRAINED, stored.get(ARCH)), str) else ""
