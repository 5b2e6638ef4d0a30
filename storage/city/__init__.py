"""The city's store: map, registers, cases, ratings, on SQLite or PostGIS from the same tables."""
