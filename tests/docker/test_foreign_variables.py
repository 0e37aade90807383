"""What a container's own environment says to libpq leads no tool of ours anywhere."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

import dbtasks
from dbtasks.models import Format
from dbtasks.plans import DumpRequest
from tests.fix_docker import Box

pytestmark = pytest.mark.long


@pytest.fixture(scope="module")
def misled(start_box: Callable[..., Box], box: Box) -> Box:
    """A container whose variables point at another server, as a client's image may have them."""
    (network,) = box.container.attrs["NetworkSettings"]["Networks"].values()
    variables = {
        "PGHOST": network["IPAddress"],
        "PGDATABASE": "nowhere",
        "PGOPTIONS": "-c default_transaction_read_only=on",
        "PGCLIENTENCODING": "LATIN1",
        "PGSSLMODE": "verify-full",
    }
    return start_box(variables=variables)


def test_g18_variables_of_the_container_lead_no_tool_to_another_server(
    misled: Box, box: Box, tmp_path: Path
) -> None:
    box.sql("DROP TABLE IF EXISTS whose; CREATE TABLE whose AS SELECT 'theirs' AS name")
    misled.sql("CREATE TABLE whose AS SELECT 'ours ü' AS name")
    config = dbtasks.load_settings(tmp_path, environ={}, url=misled.url(), via="container")
    for format_ in (Format.SQL, Format.CUSTOM, Format.DIRECTORY):
        made = dbtasks.backup(config, dbtasks.BackupJob(request=DumpRequest(format=format_)))
        assert made.manifest.counts == {"public.whose": 1}
        done = dbtasks.restore(config, dbtasks.plan_restore(config, dbtasks.RestoreJob(made.id)))
        assert done.rows == 1
    assert misled.sql("TABLE whose") == "ours ü"
    assert box.sql("TABLE whose") == "theirs"
