"""When a reference of SQLite's is looked at: read in the words a table was made with."""

from __future__ import annotations

import sqlite3
from contextlib import closing

from dbtasks.rows.sqlite.references import whens_of
from dbtasks.rows.sqlite.schema import describe

LATE = " DEFERRABLE INITIALLY DEFERRED"
WORDS = """CREATE TABLE t (
    a INTEGER REFERENCES p (id) ON DELETE SET NULL ON UPDATE NO ACTION deferrable /* (now) */ initially deferred CHECK (a > 0),
    b INTEGER REFERENCES p NOT DEFERRABLE INITIALLY DEFERRED,
    "references" TEXT DEFAULT 'REFERENCES p DEFERRABLE',
    c INTEGER REFERENCES "re)f" ("i(d") DEFERRABLE INITIALLY IMMEDIATE,
    d INTEGER REFERENCES p, e INTEGER REFERENCES p DEFERRABLE, -- REFERENCES p
    FOREIGN KEY (a, b) REFERENCES q (x, y) MATCH SIMPLE ON DELETE CASCADE DEFERRABLE INITIALLY DEFERRED)"""


def test_every_reference_has_its_own_words() -> None:
    with closing(sqlite3.connect(":memory:")) as connection:
        connection.execute(WORDS)
        connection.execute("ALTER TABLE t ADD COLUMN f INTEGER REFERENCES p DEFERRABLE INITIALLY DEFERRED")
        (table,) = describe(connection, ["t"]).tables
    found = [(one.columns, when) for one, when in zip(table.foreign_keys, whens_of(table), strict=True)]
    assert sorted(found) == [
        (("a",), LATE),
        (("a", "b"), LATE),
        (("b",), ""),
        (("c",), " DEFERRABLE"),
        (("d",), ""),
        (("e",), " DEFERRABLE"),
        (("f",), LATE),
    ]
