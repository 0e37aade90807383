"""What a migration from SQLite makes of every table and column: the types, why, what does not fit, and what stays behind.

Pure: a schema, what the rows were found to hold (`survey`), casts, and the tables
that are there, if an application's migrations made them. Types come from the
declared type first, then from the data; of tables that are there they are given.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from ...nouns import many
from ...schemas import table_name
from ..across.candidates import wider_than
from ..across.carried import SCHEMA, Carried
from ..across.moments import SINCE_1970
from ..losses import Loss
from ..postgres.spelling import LIMIT_BYTES
from ..schema import Check, Column, PortableSchema, Spelling, Table
from ..schema import Sequence as Numbers
from ..sqlite.conditions import Typed, Unsaid, checks_of, said_there
from ..sqlite.defaults import default_there
from ..sqlite.words import collated, counts_itself, words
from .casts import Cast, casts_for
from .choices_live import Met, met
from .order import ordered
from .survey import EXAMPLES, FEW, ColumnSurvey, Survey, Trial
from .weaker import Weaker, is_told, weaker

__all__ = ["KEY_TAKES_NONE", "NOT_NULL", "Cast", "Choices", "ColumnChoice", "choose", "survey_for"]

SHOWN = 60
HIGHEST = {"smallint": 2**15 - 1, "integer": 2**31 - 1, "bigint": 2**63 - 1}
"""The types of an identity column, and how far each counts."""
NOT_NULL = "the column takes none"
KEY_TAKES_NONE = "a primary key of PostgreSQL's takes none, though SQLite's does"


@dataclass(frozen=True)
class ColumnChoice:
    """What one column becomes."""

    table: str
    """SQLite's."""
    column: str
    declared: str
    type: str
    """PostgreSQL's, as the server spells it."""
    how: str
    """How its values are spelled there, by `spellers`."""
    why: str
    """For people."""
    misfits: int = 0
    """Values that will not fit."""
    examples: tuple[str, ...] = ()
    """The first of them: `row id: why`."""
    into: str = ""
    """The column's name there."""
    not_null: bool = False
    kept: str = ""
    """`why` as it may be kept, where a value stands in that: the row's id instead."""
    kinds: frozenset[str] = frozenset()
    """The storage classes of its values."""
    weaker: Weaker | None = None
    """The type it would have, but for a few values."""


@dataclass(frozen=True)
class Choices:
    """What a migration does with the tables it was given."""

    schema: PortableSchema
    """What is to be made; empty where the tables are there."""
    names: Mapping[str, str]
    """Each table whose rows are carried, and the one they go into."""
    columns: Mapping[str, tuple[ColumnChoice, ...]]
    """By SQLite's name; those that are carried, in the order of its data columns."""
    rows: Mapping[str, int]
    """How many there are."""
    losses: tuple[Loss, ...] = ()
    only_source: tuple[str, ...] = ()
    """Tables of SQLite that are not there: their rows are not carried."""
    only_target: tuple[str, ...] = ()
    """Tables that are there and not in SQLite: they stay as they are."""
    order: tuple[str, ...] = ()
    """SQLite's names, what is referred to first."""
    cycles: tuple[tuple[str, ...], ...] = ()
    """Tables that refer to one another."""

    def hows(self, table: str) -> tuple[str, ...]:
        """Return how the values of a table's carried columns are spelled."""
        return tuple(one.how for one in self.columns[table])

    @property
    def misfits(self) -> int:
        """Values that will not fit, in all tables."""
        return sum(one.misfits for columns in self.columns.values() for one in columns)


def survey_for(schema: PortableSchema, casts: Sequence[Cast], live: PortableSchema | None) -> Survey:
    """Return what takes the rows of these tables, so that `choose` can choose.

    Raises:
        UsageError: a cast names a column that there is not, or one of a table that is there.
    """
    given = dict(casts_for(schema, casts))
    if live is None:
        return Survey(schema, given)
    found = met(schema, live, given)
    return Survey(PortableSchema(tables=tuple(found.columns)), found.types, live.types)


def choose(
    schema: PortableSchema,
    survey: Survey,
    *,
    casts: Sequence[Cast] = (),
    live: PortableSchema | None = None,
    beside: Sequence[tuple[str, str]] = (),
    taken: Collection[str] = (),
    used: Collection[str] = (),
) -> Choices:
    """Return what becomes of these tables, once `survey` has read their rows.

    `beside` names what else is in the database, such as `("view", "totals")`: it is told as left behind.
    `taken` are the names of what is in the schema where tables are made: indexes get others. `used` are all of SQLite's.

    Raises:
        UsageError: as `survey_for`.
    """
    left = [Loss(f"the {kind} {name}", "is not carried: make it there by hand") for kind, name in beside]
    if live is None:
        return _Making(schema, survey, casts_for(schema, casts), left, taken, used).whole()
    return _into(met(schema, live, casts_for(schema, casts)), survey, left)


# -- one column ------------------------------------------------------------------------------


def _chosen(table: Table, column: Column, found: ColumnSurvey, because: str) -> ColumnChoice:
    trial = _taken(found, column)
    candidate = trial.candidate
    why, kept = (_why(column, found, trial, because, with_value=shown) for shown in (True, False))
    return ColumnChoice(
        table.name,
        column.name,
        column.type,
        candidate.type,
        candidate.how,
        why,
        trial.misfits,
        tuple(trial.examples),
        into=column.name,
        kept="" if kept == why else kept,
        kinds=frozenset(found.counts),
        weaker=weaker(table, column, found, trial),
    )


def _taken(found: ColumnSurvey, column: Column) -> Trial:
    if not found.values and not found.is_given:
        return Trial(wider_than(column.type), is_kept=False)
    sure = [trial for trial in found.trials if found.is_sure(trial.candidate)]
    fitting = [trial for trial in sure if not trial.misfits]
    if fitting:
        return fitting[0]
    return min((trial for trial in sure if trial.is_kept), key=lambda trial: trial.misfits)


def _why(column: Column, found: ColumnSurvey, trial: Trial, because: str, *, with_value: bool) -> str:
    declared = f"declared {column.type}" if column.type else "declared without a type"
    if because:
        declared = f"{declared}, {because}"
    if not found.values:
        return f"{declared}, holds no value"
    if trial.misfits:
        kinds = " and ".join(many(number, kind) for kind, number in sorted(found.counts.items()))
        read = [f"as {trial.candidate.holds}"] if trial.candidate.unit else []
        return f"{declared}, holds {', '.join([kinds, *read, *_remarks(found, trial)])}{_doubt(found, trial)}"
    holds = trial.candidate.holds
    if trial.candidate.how == "boolean" and found.counts["text"]:
        holds = "only 0, 1 and the words for true and false"
    said = f"{declared}, holds {', '.join([holds, *_remarks(found, trial)])}{_doubt(found, trial)}"
    first = found.trials[0]
    if trial is not first and first.examples and is_told(first.candidate, trial.candidate):
        row_id = first.examples[0].partition(": ")[0]
        said += f" (row {first.examples[0] if with_value else row_id})"
    return said


def _remarks(found: ColumnSurvey, taken: Trial) -> Iterator[str]:
    """Yield what becomes of the values that fit, whether or not others do: none of it goes without saying."""
    if taken.candidate.remark:
        yield taken.candidate.remark
    if taken.candidate.unit in SINCE_1970 and found.counts["real"]:
        yield "of which microseconds are kept"
    if "cut" in taken.candidate.how:
        yield f"of which digits beyond microseconds are cut ({_cut(found, taken)})"


def _cut(found: ColumnSurvey, taken: Trial) -> str:
    """Say how many values lose digits: those that only fit where some may be cut."""
    whole = next(
        trial
        for trial in found.trials
        if trial.candidate.type == taken.candidate.type and "cut" not in trial.candidate.how
    )
    if whole.is_over:
        return f"more than {many(FEW, 'value')}"
    return many(whole.misfits - taken.misfits, "value")


def _doubt(found: ColumnSurvey, taken: Trial) -> str:
    if taken.candidate.unit or not found.may_be_dates or found.counts["text"] + found.counts["blob"]:
        return ""
    return " that may be dates in digits, and no time since 1970"


def _without_value(one: ColumnChoice, found: ColumnSurvey, takes_none: str = NOT_NULL) -> ColumnChoice:
    """Count NULL as a misfit of a column that takes none."""
    if not found.nulls:
        return replace(one, not_null=True)
    told = [f"{number}: NULL, and {takes_none}" for number in found.without_value]
    return replace(
        one,
        misfits=one.misfits + found.nulls,
        examples=(*one.examples, *told)[:EXAMPLES],
        not_null=True,
    )


# -- tables that are to be made ------------------------------------------------------------------


class _Making:
    def __init__(
        self,
        schema: PortableSchema,
        survey: Survey,
        casts: Mapping[tuple[str, str], str],
        losses: list[Loss],
        taken: Collection[str],
        used: Collection[str],
    ) -> None:
        self._schema = schema
        self._survey = survey
        self._casts = casts
        self._losses = losses
        self._names = {table.name: table_name(SCHEMA, table.name) for table in schema.tables}
        self._chosen: dict[str, dict[str, ColumnChoice]] = {}
        self._carried = Carried(schema, self._names, self._type, losses, self._condition, taken, used)

    def whole(self) -> Choices:
        for table in self._schema.tables:
            self._chosen[table.name] = {
                column.name: self._column_choice(table, column) for column in table.data_columns
            }
        self._agree()
        tables = tuple(self._table(table) for table in self._schema.tables)
        numbers = tuple(filter(None, map(self._numbers, self._schema.tables)))
        wants = {
            table.name: [
                found[0].name for one in table.foreign_keys if (found := self._carried.referenced(one))
            ]
            for table in self._schema.tables
        }
        order, cycles = ordered(self._names, wants)
        return Choices(
            PortableSchema(tables=tables, sequences=numbers),
            self._names,
            {name: tuple(columns.values()) for name, columns in self._chosen.items()},
            dict(self._survey.rows),
            tuple(self._losses),
            order=order,
            cycles=cycles,
        )

    def _found(self, table: Table, column: str) -> ColumnSurvey:
        return self._survey.profiles[table.name][column]

    def _counts(self, table: Table) -> str | None:
        """Return the column that counts by itself, and goes on doing so: no cast made it anything but a number."""
        column = counts_itself(table)
        cast = self._casts.get((table.name, column or ""), "bigint")
        return column if cast in HIGHEST else None

    def _column_choice(self, table: Table, column: Column) -> ColumnChoice:
        found = self._found(table, column.name)
        if self._counts(table) == column.name:
            type_ = self._casts.get((table.name, column.name), "bigint")
            why = "the row's own number: an identity column"
            one = ColumnChoice(
                table.name,
                column.name,
                column.type,
                type_,
                type_,
                why,
                into=column.name,
                kinds=frozenset(found.counts),
            )
            trial = _taken(found, column)
            if trial.candidate.type == type_:
                one = replace(one, misfits=trial.misfits, examples=tuple(trial.examples))
            return _without_value(one, found, KEY_TAKES_NONE)
        because = "by --cast" if (table.name, column.name) in self._casts else ""
        one = _chosen(table, column, found, because)
        in_key = table.primary_key is not None and column.name in table.primary_key.columns
        if column.not_null or in_key:
            return _without_value(one, found, KEY_TAKES_NONE if in_key else NOT_NULL)
        return one

    def _agree(self) -> None:
        """Give a column without values the type of what it refers to, or of what refers to it."""
        for table in self._schema.tables:
            for one in table.foreign_keys:
                found = self._carried.referenced(one)
                if found is None:
                    continue
                for mine, theirs in zip(one.columns, found[1], strict=True):
                    self._agree_on((table, mine), (found[0], theirs))

    def _agree_on(self, mine: tuple[Table, str], theirs: tuple[Table, str]) -> None:
        for (table, column), (other, referenced) in ((mine, theirs), (theirs, mine)):
            own = self._chosen[table.name].get(column)
            wanted = self._chosen[other.name].get(referenced)
            if own is None or wanted is None or own.type == wanted.type:
                continue
            is_free = not self._found(table, column).values and (table.name, column) not in self._casts
            if is_free and counts_itself(table) != column:
                why = f"{own.why}: as {other.name}.{referenced}"
                self._chosen[table.name][column] = replace(own, type=wanted.type, how=wanted.how, why=why)

    def _type(self, table: Table, column: str) -> str:
        chosen = self._chosen[table.name].get(column)
        return chosen.type.partition("(")[0] if chosen else ""

    def _table(self, table: Table) -> Table:
        self._carried.prove_table(table)
        self._carried.prove_conflicts(table)
        if "COLLATE" in {word.upper() for word in words(table.definition)}:
            self._losses.append(Loss(f"the table {table.name}", "goes without its collations"))
        self._carried.prove_columns(table)
        for column in table.columns:
            if column.generated:
                self._losses.append(Loss(f"{table.name}.{column.name}", "is computed, and not carried"))
        return Table(
            self._names[table.name],
            tuple(self._column(table, column) for column in table.data_columns),
            primary_key=self._carried.primary_key(table),
            unique=self._carried.unique(table),
            foreign_keys=self._carried.references(table),
            checks=self._checks(table),
            indexes=self._carried.indexes(table),
        )

    def _column(self, table: Table, column: Column) -> Column:
        chosen = self._chosen[table.name][column.name]
        is_number = self._counts(table) == column.name
        return Column(
            column.name,
            chosen.type,
            Spelling.TEXT,
            not_null=chosen.not_null,
            default="" if is_number else self._default(table, column, chosen),
            identity="by default" if is_number else "",
        )

    def _default(self, table: Table, column: Column, chosen: ColumnChoice) -> str:
        found = default_there(column.default, chosen.type, chosen.how)
        if found is None:
            what = f"the default of {table.name}.{column.name}"
            self._losses.append(Loss(what, f"is not carried: {column.default[:SHOWN]}"))
        return found or ""

    def _condition(self, table: Table, said: Sequence[str]) -> str | None:
        own = collated(table)
        typed = {
            one.column.lower(): Typed(
                one.column,
                one.type,
                one.how,
                one.column.lower() in own,
                frozenset(found.shapes),
                frozenset(found.counts),
            )
            for one in self._chosen[table.name].values()
            for found in (self._found(table, one.column),)
        }
        try:
            return said_there(said, typed)
        except Unsaid:
            return None

    def _checks(self, table: Table) -> tuple[Check, ...]:
        found: dict[str, Check] = {}
        for name, said in checks_of(table):
            text = self._condition(table, said)
            if text is None:
                shown = " ".join(said)[:SHOWN]
                self._losses.append(Loss(f"the CHECK of {table.name} ({shown})", "is not carried"))
                continue
            is_short = 0 < len(name.encode("utf-8", "replace")) <= LIMIT_BYTES
            wanted = first = name if is_short else f"{table.name[:10]}_check"
            number = 1
            while wanted in found:
                number += 1
                wanted = f"{first[:12]}_{number}"
            found[wanted] = Check(wanted, f"CHECK ({text})")
        return tuple(found.values())

    def _numbers(self, table: Table) -> Numbers | None:
        column = self._counts(table)
        found = self._carried.numbers(table, self._found(table, column).largest) if column else None
        if column is None or found is None:
            return None
        type_ = self._chosen[table.name][column].type
        last = min(found.last_value, HIGHEST[type_])
        return replace(found, type=type_, maximum=HIGHEST[type_], last_value=last)


# -- tables that are there -----------------------------------------------------------------------


def _into(found: Met, survey: Survey, losses: list[Loss]) -> Choices:
    columns: dict[str, tuple[ColumnChoice, ...]] = {}
    for table, pairs in found.columns.items():
        chosen = []
        for column, there in pairs:
            profile = survey.profiles[table.name][column.name]
            one = replace(_chosen(table, column, profile, "as the table has it"), into=there.name)
            chosen.append(_without_value(one, profile) if there.not_null else one)
        columns[table.name] = tuple(chosen)
    order, cycles = ordered(found.names, found.wants)
    return Choices(
        PortableSchema(),
        found.names,
        columns,
        {name: survey.rows[name] for name in found.names},
        (*losses, *found.losses),
        found.only_source,
        found.only_target,
        order,
        cycles,
    )
