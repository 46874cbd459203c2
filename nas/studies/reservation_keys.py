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


def stored_key(trial_id: int, values: Collection[str | None], known: Collection[str]) -> str:
    """Return the key of a trial that was written without a reservation, by its `KEY_ATTRIBUTES` as JSON.

    Trials of other tools may have no architecture, or the same one twice. Those get keys of their own.
    """
    stored = {name: json.loads(value) for name, value in zip(KEY_ATTRIBUTES, values, strict=True) if value}
    key = reservation_key(stored) if stored.keys() & {ARCH, TRAINED} else ""
    return digest(f"trial {trial_id}") if not key or key in known else key
