"""A bank: what a backup of it holds can be told to be one moment from what it holds alone.

Each transaction moves money between two accounts, writes the transfer down
and raises a total, so that no other order of reading gives books that agree.
"""

from __future__ import annotations

import random
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

__all__ = ["BALANCED", "BOOKS", "SCHEMA", "TABLES", "changing", "transfer"]

ACCOUNTS, BALANCE = 200, 1000
TABLES = ("account", "transfer", "total", "paper")

SCHEMA = (
    "CREATE TABLE account (id integer PRIMARY KEY, balance integer NOT NULL)",
    "CREATE TABLE transfer (id integer PRIMARY KEY, source integer NOT NULL REFERENCES account (id),"
    " sink integer NOT NULL REFERENCES account (id), amount integer NOT NULL)",
    "CREATE TABLE total (transfers integer NOT NULL)",
    "INSERT INTO total VALUES (0)",
    "CREATE TABLE paper (id integer PRIMARY KEY, body text NOT NULL)",
    "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 200)"
    f" INSERT INTO account SELECT i, {BALANCE} FROM n",
    "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 20000)"
    " INSERT INTO paper SELECT i, 'sheet ' || i || ' of ' || (i * 7919 % 10007) || ' ' || (i * 104729 % 99991) FROM n",
)

BOOKS = (
    "SELECT (SELECT count(*) FROM account), (SELECT sum(balance) FROM account),"
    " (SELECT count(*) FROM transfer) - (SELECT transfers FROM total),"
    " (SELECT count(*) FROM account a WHERE a.balance <> 1000"
    " + (SELECT coalesce(sum(amount), 0) FROM transfer WHERE sink = a.id)"
    " - (SELECT coalesce(sum(amount), 0) FROM transfer WHERE source = a.id)),"
    " (SELECT count(*) FROM paper)"
)
"""Gives BALANCED for one moment's books, and for those only."""
BALANCED = (ACCOUNTS, ACCOUNTS * BALANCE, 0, 0, 20_000)

PAUSE_SECONDS = 0.01


def transfer(number: int, dice: random.Random) -> tuple[str, ...]:
    """Return the statements of one transaction."""
    source, sink = dice.sample(range(1, ACCOUNTS + 1), 2)
    amount = dice.randint(1, 50)
    return (
        f"UPDATE account SET balance = balance - {amount} WHERE id = {source}",
        f"INSERT INTO transfer VALUES ({number}, {source}, {sink}, {amount})",
        f"UPDATE account SET balance = balance + {amount} WHERE id = {sink}",
        "UPDATE total SET transfers = transfers + 1",
    )


@contextmanager
def changing(commit: Callable[[tuple[str, ...]], None], seed: int) -> Iterator[None]:
    """Let money move while the block runs; fails afterwards if a transfer could not be made."""
    dice, stop, failed = random.Random(seed), threading.Event(), []

    def work() -> None:
        number = 0
        try:
            while not stop.wait(PAUSE_SECONDS):
                number += 1
                commit(transfer(number, dice))
        except Exception as exc:
            failed.append(exc)

    worker = threading.Thread(target=work, name="bank")
    worker.start()
    try:
        yield
    finally:
        stop.set()
        worker.join()
    if failed:
        raise failed[0]
