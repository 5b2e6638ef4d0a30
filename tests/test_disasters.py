"""Whatever is cut on the way from the journal to the store: the store equals the journals, event by event.

A short run of the fault suite, with a seed; `make faults` is the whole of it. Each test prints what it
injected and what it compared.
"""

import os
from pathlib import Path

import pytest

from storage.migrating import migrate
from storage.pglink import Address
from testbed import faultruns
from testbed.process import ServerMissing
from tests.servers import need

SEED = int(os.environ.get("LINLI_SEED", "20261128"))


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("name", faultruns.NAMES)
def test_the_store_equals_the_journals(name: str, tmp_path: Path, request: pytest.FixtureRequest) -> None:
    where: Path | str = tmp_path / "store.db"
    if name in ("centres_killed", "broker_killed"):
        where = request.getfixturevalue("database")
        assert isinstance(where, str)
        migrate(Address(where))
    try:
        outcome = faultruns.run(name, tmp_path, where, faultruns.SHORT, SEED)
    except ServerMissing as e:
        need(e)
    print(outcome)
    assert outcome.whole, str(outcome)
