"""The fleet: the runs of many machines and containers in one PostgreSQL database.

In: runs of a journal, as :mod:`.documents` writes them. Out: rows in the database, by its functions alone.
"""
