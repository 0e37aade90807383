"""Two schemas side by side: what counts as drift, and how it is told."""

from __future__ import annotations

from dbtasks.schemas import Schema, SchemaDrift, SchemaObject, compare_schemas, pieces


def schema(*objects: SchemaObject, spelling: str = "", **parts: object) -> Schema:
    return Schema({(o.type, o.name): o for o in objects}, spelling=spelling, **parts)  # type: ignore[arg-type]


def table(sql: str, name: str = "item", *further: str) -> SchemaObject:
    return SchemaObject("table", name, sql, further=further)


def drift(ours: str, theirs: str) -> SchemaDrift:
    return compare_schemas(schema(table(ours)), schema(table(theirs)))


def test_white_space_and_comments_are_no_drift_but_what_stands_in_quotes_is() -> None:
    one = "CREATE TABLE item (id INT, -- the key\n  name TEXT DEFAULT 'a  b')"
    assert not drift(one, "CREATE TABLE item (id INT,   name TEXT DEFAULT 'a  b')").differs
    assert drift(one, "CREATE TABLE item (id INT, name TEXT DEFAULT 'a b')").differs
    assert drift("CREATE VIEW v AS SELECT 'a--b'", "CREATE VIEW v AS SELECT 'a--c'").differs


def test_a_table_tells_its_columns() -> None:
    found = drift(
        'CREATE TABLE item (id INT, price NUMERIC(10,2), "a, (b" TEXT, old INT)',
        'CREATE TABLE item (id INT, price NUMERIC(12,2), "a, (b" TEXT, "new" TEXT)',
    )
    (changed,) = found.changed
    assert changed.details == (
        "+ price NUMERIC(10,2)",
        "- price NUMERIC(12,2)",
        "+ old INT",
        '- "new" TEXT',
    )


def test_columns_in_another_order_and_statements_beside_them_are_told() -> None:
    (moved,) = drift("CREATE TABLE item (a INT, b INT)", "CREATE TABLE item (b INT, a INT)").changed
    assert moved.details == ("~ the columns stand in another order",)
    one, other = (
        table("CREATE TABLE item (a INT)", "item", "x"),
        table("CREATE TABLE item (a INT)", "item", "y"),
    )
    (changed,) = compare_schemas(schema(one), schema(other)).changed
    assert changed.details == ("+ x", "- y")


def test_objects_that_only_one_has_are_named_on_its_side() -> None:
    index = SchemaObject("index", "item_a", "CREATE INDEX", table="item")
    found = compare_schemas(
        schema(table("CREATE TABLE item (a)"), index), schema(table("CREATE TABLE n (a)", "n"))
    )
    assert [(o.type, o.name) for o in found.only_in_backup] == [("index", "item_a"), ("table", "item")]
    assert [(o.type, o.name) for o in found.only_against] == [("table", "n")]


def test_what_a_partial_side_lacks_is_no_difference() -> None:
    one, both = schema(table("a", "a")), schema(table("a", "a"), table("b", "b"))
    assert not compare_schemas(one, both, partial=(True, False)).differs
    assert not compare_schemas(both, one, partial=(False, True)).differs
    assert compare_schemas(one, both).differs


def test_texts_of_other_versions_are_not_certain_but_columns_and_labels_are() -> None:
    def compared(type_: str, ours: str, theirs: str) -> SchemaDrift:
        old, new = SchemaObject(type_, "x", ours), SchemaObject(type_, "x", theirs)
        return compare_schemas(schema(old, spelling="16"), schema(new, spelling="18"))

    view = compared("view", "CREATE VIEW x AS SELECT item.id", "CREATE VIEW x AS SELECT id")
    assert (view.differs, len(view.uncertain)) == (False, 1)
    assert "16" in view.why_uncertain
    assert "18" in view.why_uncertain
    spelled = compared(
        "table", "CREATE TABLE x (a int NOT NULL)", "CREATE TABLE x (a int CONSTRAINT n NOT NULL)"
    )
    assert (spelled.differs, len(spelled.uncertain)) == (False, 1)
    assert compared("table", "CREATE TABLE x (a int)", "CREATE TABLE x (a int, b int)").differs
    assert compared("type", "CREATE TYPE x AS ENUM ('a')", "CREATE TYPE x AS ENUM ('a', 'b')").differs


def test_owners_and_privileges_are_told_apart_and_only_where_the_backup_has_them() -> None:
    one = schema(owners={"item": "app"}, privileges=frozenset({"GRANT SELECT ON TABLE item TO jo"}))
    other = schema(owners={"item": "root", "n": "root"})
    found = compare_schemas(one, other)
    assert found.owners == ("item belongs to app in the backup, to root in the other",)
    assert found.privileges == ("+ GRANT SELECT ON TABLE item TO jo",)
    assert not compare_schemas(schema(), other).differs


def test_the_text_of_a_login_is_never_shown() -> None:
    for type_ in ("subscription", "server", "user mapping", "foreign table", "trigger", "function", "view"):
        ours = SchemaObject(type_, "s", "CREATE s CONNECTION 'password=canary'")
        theirs = SchemaObject(type_, "s", "CREATE s CONNECTION 'password=other'")
        (changed,) = compare_schemas(schema(ours), schema(theirs)).changed
        assert changed.details == ()


def test_commas_in_quotes_parentheses_and_comments_split_nothing() -> None:
    assert pieces("a int, b numeric(1,2), \"c,d\" text DEFAULT ',(', e /* , */ int") == [
        "a int",
        "b numeric(1,2)",
        "\"c,d\" text DEFAULT ',('",
        "e  int",
    ]
