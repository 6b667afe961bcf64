"""
The schema of the file of `sqlite://`, and what is done with a file that an earlier rpcguard made.

Times are Unix seconds; infinity stands for "for ever". `account` and `id` are 63 bits of a digest
of (project, subject) or of the project: the file holds no name of a caller.
"""

from __future__ import annotations

import math
import sqlite3

from rpcguard.errors import ConfigError

APPLICATION_ID = 0x72706367  # "rpcg", in the header of the file
SCHEMA_VERSION = 4

# The schema itself sees to it that a slot has one record.
_RECORDS = (
    """CREATE TABLE record(
        slot BLOB PRIMARY KEY,
        name BLOB NOT NULL UNIQUE,
        value TEXT NOT NULL,
        issued REAL NOT NULL,
        expires REAL NOT NULL,
        account INTEGER NOT NULL
    ) WITHOUT ROWID""",
    "CREATE INDEX record_expires ON record(expires)",
    """CREATE TRIGGER record_gone AFTER DELETE ON record BEGIN
        DELETE FROM revocable WHERE record = old.name;
    END""",
)
_RECENT = """CREATE TABLE recent(
        name BLOB PRIMARY KEY,
        deadline INTEGER NOT NULL,
        account INTEGER NOT NULL,
        project INTEGER NOT NULL
    ) WITHOUT ROWID"""
_SCHEMA = (
    """CREATE TABLE state(
        one INTEGER PRIMARY KEY CHECK (one = 1),
        boot TEXT,
        guard_from REAL NOT NULL,
        pruned_through REAL NOT NULL,
        epoch BLOB NOT NULL
    )""",
    # Written as renaming the table `nonce` of version 3 leaves it: a file of a million nonces is
    # upgraded at once.
    """CREATE TABLE "spent"(
        name BLOB PRIMARY KEY,
        deadline INTEGER NOT NULL,
        account INTEGER NOT NULL
    ) WITHOUT ROWID""",
    'CREATE INDEX nonce_deadline ON "spent"(deadline)',
    _RECENT,
    "CREATE TABLE budget(id INTEGER PRIMARY KEY, parent INTEGER, live INTEGER NOT NULL)",
    """CREATE TABLE revocation(
        name BLOB PRIMARY KEY,
        before REAL NOT NULL,
        expires REAL NOT NULL
    ) WITHOUT ROWID""",
    "CREATE INDEX revocation_expires ON revocation(expires)",
    """CREATE TABLE revocable(
        record BLOB,
        name BLOB,
        PRIMARY KEY(record, name)
    ) WITHOUT ROWID""",
    *_RECORDS,
    f"PRAGMA application_id = {APPLICATION_ID}",
    f"PRAGMA user_version = {SCHEMA_VERSION}",
)

# What brings a file of each earlier version to the next one.
_UPGRADES = {
    # Version 2 kept spent refresh tokens, and no budget of records. Families of that time end:
    # their tokens do not name them. API keys stay, and count in no budget until they are replaced.
    2: (
        "DROP TRIGGER record_gone",
        "DROP INDEX record_expires",
        "ALTER TABLE record RENAME TO record_of_2",
        *_RECORDS,
        """INSERT INTO record SELECT slot, name, value, issued, expires, 0 FROM record_of_2
            WHERE slot IS NOT NULL AND json_extract(value, '$.kid') IS NOT NULL""",
        "DROP TABLE record_of_2",
        "DELETE FROM revocable WHERE record NOT IN (SELECT name FROM record)",
    ),
    # Version 3 kept all nonces in `nonce`, alone. The name is gone so that a process of that time,
    # which would not look into `recent`, finds nothing and refuses.
    3: ("ALTER TABLE nonce RENAME TO spent", _RECENT),
}


def version_of(connection: sqlite3.Connection) -> int:
    """
    Return the version of the file's schema, or 0 for an empty file.

    Raises:
        ConfigError: If the file is another application's, or of a version that is not known here.
    """
    (application,) = connection.execute("PRAGMA application_id").fetchone()
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    (tables,) = connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
    if application == APPLICATION_ID:
        if version not in (*_UPGRADES, SCHEMA_VERSION):
            raise ConfigError(
                f"sqlite: the file has schema version {version}, this rpcguard needs"
                f" {SCHEMA_VERSION}"
            )
        return int(version)
    if application or version or tables:
        raise ConfigError("sqlite: the file is a database of another application")
    return 0


def create(connection: sqlite3.Connection, boot: str | None, epoch: bytes) -> None:
    """Make the schema in an empty file; the caller has begun a transaction."""
    for statement in _SCHEMA:
        connection.execute(statement)
    state = (boot, -math.inf, -math.inf, epoch)
    connection.execute("INSERT INTO state VALUES(1, ?, ?, ?, ?)", state)


def upgrade(connection: sqlite3.Connection) -> None:
    """Bring a file to the present version; the caller has begun a transaction."""
    version = version_of(connection)
    if version < SCHEMA_VERSION:
        for each in range(version, SCHEMA_VERSION):
            for statement in _UPGRADES[each]:
                connection.execute(statement)
        connection.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")
