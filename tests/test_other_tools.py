"""Files that other tools made, given to the tasks: refused by the tool's name, before anything is touched."""

from __future__ import annotations

import gzip
import json
import subprocess

import pytest

from tests.conftest import Project
from tests.fix_postgres import PgDatabase

MYSQLDUMP = """\
-- MySQL dump 10.13  Distrib 8.0.36, for Linux (x86_64)
--
-- Host: localhost    Database: shop
-- ------------------------------------------------------
-- Server version\t8.0.36-0ubuntu0.22.04.1

/*!40101 SET @OLD_CHARACTER_SET_CLIENT=@@CHARACTER_SET_CLIENT */;
/*!50503 SET NAMES utf8mb4 */;
/*!40014 SET @OLD_FOREIGN_KEY_CHECKS=@@FOREIGN_KEY_CHECKS, FOREIGN_KEY_CHECKS=0 */;

--
-- Table structure for table `item`
--

DROP TABLE IF EXISTS `item`;
/*!50503 SET character_set_client = utf8mb4 */;
CREATE TABLE `item` (
  `id` int NOT NULL AUTO_INCREMENT,
  `name` varchar(40) COLLATE utf8mb4_unicode_ci DEFAULT NULL,
  PRIMARY KEY (`id`)
) ENGINE=InnoDB AUTO_INCREMENT=3 DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_unicode_ci;

LOCK TABLES `item` WRITE;
/*!40000 ALTER TABLE `item` DISABLE KEYS */;
INSERT INTO `item` VALUES (1,'it\\'s one'),(2,NULL);
/*!40000 ALTER TABLE `item` ENABLE KEYS */;
UNLOCK TABLES;
/*!40101 SET CHARACTER_SET_CLIENT=@OLD_CHARACTER_SET_CLIENT */;

-- Dump completed on 2026-02-24 15:03:20
"""


def by_pg_dumpall(database: PgDatabase) -> bytes:
    """What the real tool writes of a server: its roles, for its databases are other tests' too."""
    tool = database.server.bin / "pg_dumpall"
    done = subprocess.run(
        [tool, "-w", "--globals-only", f"--database={database.url}"], capture_output=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def by_mysqldump(database: PgDatabase) -> bytes:
    del database
    return MYSQLDUMP.encode()


def a_text(database: PgDatabase) -> bytes:
    del database
    return b"Dear all,\n\nthe backup is on the other disk.\n"


MADE = {
    "pg_dumpall": (by_pg_dumpall, "was made by pg_dumpall", "load it by psql into a new server"),
    "mysqldump": (by_mysqldump, "was made by mysqldump", "load it into MySQL"),
    "nothing": (a_text, "is not a backup dbtasks knows", "it reads SQLite files, pg_dump's custom"),
}


@pytest.mark.long
@pytest.mark.parametrize("packed", [False, True], ids=["plain", "gzip"])
@pytest.mark.parametrize("tool", MADE)
def test_c09_a_file_of_another_tool_is_refused_by_name_and_nothing_is_touched(
    project: Project, pg_db: PgDatabase, tool: str, packed: bool
) -> None:
    make, what, way = MADE[tool]
    project.mount()
    pg_db.run("CREATE TABLE item AS SELECT generate_series(1, 9) AS a")
    file = project.root / ("theirs.sql" + ".gz" * packed)
    data = make(pg_db)
    file.write_bytes(gzip.compress(data) if packed else data)
    environ = {"DATABASE_URL": pg_db.url, "DBTASKS_VIA": "host", "DBTASKS_PG_BIN": str(pg_db.server.bin)}
    for command, state in (
        (f"db.restore --file={file.name} --unverified --yes", "nothing was touched"),
        (f"db.adopt --file={file.name}", "nothing was published"),
    ):
        ran = project.invoke(*command.split(), "--json", **environ)
        assert ran.returncode == 6, ran.stderr
        error = json.loads(ran.stdout)["error"]
        assert error["message"] == f"{file.name} {what}" or error["message"].startswith(
            f"{file.name} {what}:"
        )
        assert error["hint"].startswith(way)
        assert (error["state"], f"  state: {state}\n" in ran.stderr) == (state, True)
    assert pg_db.run("SELECT count(*) FROM item") == [(9,)]
    assert not [*project.root.rglob("*.manifest.json")]
