"""Alerts that nobody is left to clear: their camera or sensor is in the site file no more."""

from collections.abc import Collection

from events.events import AlertCleared
from storage.journal import Journal
from storage.store import Store

_MAX = 10_000


def clear_orphans(store: Store, journal: Journal, prefix: str, ids: Collection[str], now_us: int) -> int:
    """Say of each open alert that its rule was removed, if it is of a source that begins with `prefix`
    (`/SITE/camera/`, `/SITE/sensor/`, `/SITE/joint/`) and whose id is not among `ids`; answers how many.

    To be called when the store has what the journal had at the start. Called too early, or twice before the
    store has it, it says so again, and that changes nothing.

    Raises:
        StorageError: the store cannot be read or the journal takes nothing.
    """
    gone = [
        row
        for row in store.alerts(_MAX, open_only=True)
        if row.source.startswith(prefix) and row.source.removeprefix(prefix) not in ids
    ]
    for row in gone:
        data = AlertCleared(alert=row.alert, rule=row.rule, reason="rule-removed", until_us=row.updated_us)
        journal.note(row.source, data, now_us)
    return len(gone)
