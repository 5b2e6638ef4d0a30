"""The form of the store on PostgreSQL, revision by revision. `storage/migrating.py` applies them.

Every revision only adds: the Linli before it goes on reading and writing while it is applied and afterwards.
What changes tables is one transaction; what builds an index on a large table is a revision of its own,
outside a transaction (CONCURRENTLY), and may be killed and begun again.
"""
