"""The city's store on SQLite and on PostgreSQL with PostGIS: one contract, one content."""

from pathlib import Path

import pytest

from tests.contracts.city_store import CityStoreContract, Where


class TestSqliteCityStore(CityStoreContract):
    @pytest.fixture
    def where(self, tmp_path: Path) -> Where:
        return tmp_path / "city.db"


class TestPostgresCityStore(CityStoreContract):
    @pytest.fixture
    def where(self, database: str) -> Where:
        return database
