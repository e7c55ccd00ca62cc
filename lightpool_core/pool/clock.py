"""What time it is, as pools write it down."""

from __future__ import annotations

from datetime import datetime, timezone


def now() -> datetime:
    """This moment, UTC, to the second."""
    return datetime.now(timezone.utc).replace(microsecond=0)
