"""The rows of the plan where the file is somebody else's: counted where that can be done, never called the same unseen."""

from __future__ import annotations

import json
import shutil

from tests.conftest import Project
from tests.fix_postgres import PgDatabase
from tests.postgres.rich import tool
from tests.sqlite.databases import make, run

PLAN = ("db.restore", "--unverified", "--dry-run")


def test_c09_the_plan_counts_the_rows_of_a_foreign_sqlite_file(project: Project) -> None:
    project.mount()
    live = make(project.root / "app.db", 200)
    shutil.copy(live, project.root / "theirs.db")
    run(project.root / "theirs.db", "DELETE FROM item")
    given = {"DATABASE_URL": "sqlite:///app.db"}
    shown = project.invoke(*PLAN, "--file=theirs.db", **given)
    assert shown.returncode == 0, shown.stderr
    assert "same count" not in shown.stdout
    assert "item" in shown.stdout
    plan = json.loads(project.invoke(*PLAN, "--file=theirs.db", "--json", **given).stdout)["plan"]
    assert plan["changes"] == [{"table": "item", "backup_rows": 0, "live_rows": 200}]
    assert plan["not_counted"] is None


def test_c09_the_plan_says_that_nobody_counted_the_rows_of_a_foreign_dump(
    project: Project, pg_db: PgDatabase
) -> None:
    project.mount()
    pg_db.run("CREATE TABLE t (a int); INSERT INTO t SELECT generate_series(1, 9)")
    (project.root / "theirs.dump").write_bytes(tool(pg_db.server, "pg_dump", "-Fc", pg_db.name))
    pg_db.run("DELETE FROM t WHERE a > 2")
    given = {
        "DATABASE_URL": pg_db.url,
        "DBTASKS_PG_BIN": str(pg_db.server.bin),
        "DBTASKS_VIA": "host",
    }
    owner = pg_db.server.create_role("LOGIN CREATEDB")
    pg_db.run(f"ALTER DATABASE {pg_db.name} OWNER TO {owner.user}; ALTER TABLE t OWNER TO {owner.user}")
    given["DATABASE_URL"] = pg_db.seen_by(owner).url
    asked = (*PLAN, "--no-owner", "--file=theirs.dump")
    shown = project.invoke(*asked, **given)
    assert shown.returncode == 0, shown.stderr
    assert "Rows     not compared: nobody counted the rows of this file" in shown.stdout
    plan = json.loads(project.invoke(*asked, "--json", **given).stdout)["plan"]
    assert plan["changes"] == []
    assert plan["not_counted"].startswith("nobody counted")
