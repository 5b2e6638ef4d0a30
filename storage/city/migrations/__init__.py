"""Revisions of the city's tables, for SQLite and PostgreSQL; `storage.city.migrating` runs them.

A revision runs the statements of `sql/NUMBER.DIALECT.sql`. Forms only grow: what an older Linli reads and
writes stays as it is, so both may work at once. What is there is never changed: what comes later is a new
revision, with its number in `storage.city.migrating.FORMS`.
"""
