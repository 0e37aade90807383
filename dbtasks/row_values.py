"""What servers and their tools say, without the values in it.

Whoever reads a log or an error gets the table, the line, the constraint and
the column, and nothing of what people's rows hold.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

__all__ = ["first_error", "without_rows", "without_values"]

LONGEST_SHOWN = 200
"""Characters of a statement."""
VALUE = re.compile(
    r"""
    (?P<kept> "(?:[^"]|"")*" | [^\W\d][\w$]* )              # names: a digit in one is no value
    | /\*(?:(?!/\*|\*/).)*\*/ | --[^\n]* | /\*.*            # comments, to the end of the text where they are nested
    | '(?:[^']|'')*(?:'|\Z)                                # strings, also one that the server cut
    | \$(?P<tag>\w*)\$.*?(?:\$(?P=tag)\$|\Z)
    | \$?\d[\w.]*
    """,
    re.VERBOSE | re.DOTALL,
)
LABEL = re.compile(
    r"""
    (?P<before> (?:(?:psql|pg_\w+):.*?)? )
    (?: (?P<word> ERROR|FATAL|PANIC|WARNING|NOTICE|DETAIL|HINT|CONTEXT|QUERY|STATEMENT|LOCATION|LINE\ \d+|Command\ was) :[ ]*
      | (?<=:) )
    """,
    re.VERBOSE,
)
"""How a new piece begins: with its word, or with the name of the tool that goes on speaking."""
# the same in every language: (columns)=(values)
KEY = re.compile(r"(\)\s*=\s*\().*(\).*)", re.DOTALL)
ROW = re.compile(r"\(.*", re.DOTALL)
NAMED = re.compile(
    r"(?P<kept>\b(?:table|relation|constraint|column|index|view|sequence|function|trigger|policy|rule|type|domain"
    r"|schema|role|user|database|extension|server|tablespace|file|parameter|partition|publication|language)"
    r"\ \"[^\"]*\")|[\"«»„“”].*?[\"«»“”]",
    re.DOTALL,
)
LAST_WORD = re.compile(r"((?:: |\bvalue |\bnear (?=\"['$\d]))[\"«»„“”]).*([\"«»“”])", re.DOTALL)
PLACE = re.compile(r"(?:COPY |JSON data|PL/|SQL )[^\"«»„“”]*?(?=: |[ :]*[\"«»„“”]|$)")
READS = re.compile(r"\s*(?:INSERT|SELECT|UPDATE|DELETE|WITH|MERGE)\b", re.IGNORECASE)
SEVERITY = re.compile(
    r"^(?:.*?\bERROR: +|(?:(?:psql|pg_\w+)\b.*?: )?(?P<word>[^\s:]+):  )(?P<text>\S.*)$"  # two blanks, whatever language the server speaks
)
STATE = re.compile(r"^[0-9A-Z]{5}: ")
"""The SQLSTATE that a verbose psql says first."""
TOOLS_OWN = re.compile(r"^(?:psql|pg_\w+)(?::\S+:\d+)?: (?:error|fatal): (?P<text>.+)$")
"""What a client tool says of itself; here they all speak English."""
NO_ERROR = re.compile(
    # the parts of a message: the tool's words
    r"DETAIL|HINT|CONTEXT|QUERY|STATEMENT|LOCATION"
    # a message that is no error: the server's words, in the languages it has been translated into
    r"|WARNING|NOTICE|INFO|LOG|DEBUG|WARNUNG|HINWEIS|ATTENTION|ADVERTENCIA|AVISO|NOTA|ATTENZIONE|NOTIFICA|VARNING"
    r"|NOTIS|LOGG|UYARI|OSTRZEŻENIE|UWAGA|VAROVÁNÍ|POZNÁMKA|ПРЕДУПРЕЖДЕНИЕ|ЗАМЕЧАНИЕ|ИНФОРМАЦИЯ|ПОПЕРЕДЖЕННЯ"
    r"|ПОВІДОМЛЕННЯ|ІНФОРМАЦІЯ|ΠΡΟΕΙΔΟΠΟΙΗΣΗ|გაფრთხილება|警告|注意|信息|경고|알림|정보"
)


def without_values(statement: str) -> str:
    """Return a statement on one line, with `…` for each value: what people's rows hold is nobody's who reads a log.

    From the first backslash on nobody can tell where a string ends: the rest is left out.
    """
    read, backslash, _ = statement.partition("\\")
    text = VALUE.sub(lambda found: found["kept"] or _instead_of(found[0]), read)
    shown = " ".join(text.split()) + (" …" if backslash else "")
    return shown if len(shown) <= LONGEST_SHOWN else shown[: LONGEST_SHOWN - 2].rstrip() + " …"


def _instead_of(found: str) -> str:
    return " " if found.startswith(("/*", "--")) else "…"


def without_rows(said: str, *, is_cut: bool = False) -> str:
    """Return what a server or a tool said, with `…` for the values; all else stays as it is.

    `is_cut`: the beginning is missing, and what stands before the next piece may be in the middle of a value.
    """
    pieces = [
        before + _shown(word, text) if word or before or not is_cut else "…"
        for before, word, text in _pieces(said)
        if word != "LOCATION"  # a line of the server's source
    ]
    return "\n".join(pieces)


def first_error(said: str) -> str:
    """Return the first error in what was said, without its prefix; empty where there is none.

    A server's word for an error depends on its lc_messages; what stands around it does not.
    """
    for line in said.splitlines():
        found = SEVERITY.match(line)
        if found and not NO_ERROR.fullmatch(found["word"] or ""):
            return STATE.sub("", found["text"]).strip()
    owns = (TOOLS_OWN.match(line) for line in said.splitlines())
    return next((own["text"].strip() for own in owns if own), "")


def _pieces(said: str) -> Iterator[tuple[str, str, str]]:
    """Take it apart: what a piece begins with, its word without the colon, and the rest, which may have many lines."""
    before, word, lines = "", "", list[str]()
    for line in said.split("\n"):
        found = LABEL.match(line)
        if found and (lines or before):
            yield before, word, "\n".join(lines)
            lines = []
        if found:
            before, word = line[: found.end()], found["word"] or ""
        lines.append(line[found.end() :] if found else line)
    yield before, word, "\n".join(lines)


def _shown(word: str, text: str) -> str:
    if word == "DETAIL":
        return _detail(text)
    if word == "CONTEXT":
        return "\n".join(_places(text))
    if word in ("QUERY", "STATEMENT") or word.startswith("LINE "):
        # a piece of a statement: whether it begins inside a string nobody can tell
        return "…"
    if word == "Command was":
        return without_values(text) if READS.match(text) else text
    return text if word == "HINT" else LAST_WORD.sub(r"\1…\2", text)


def _detail(text: str) -> str:
    if KEY.search(text):
        return KEY.sub(r"\1…\2", text, count=1)
    shown = NAMED.sub(lambda found: found["kept"] or '"…"', text)
    # what stands in parentheses is a row; the things that depend on one another are listed line by line
    return "\n".join(ROW.sub("(…)", line) for line in _lines(shown))


def _lines(text: str) -> list[str]:
    """Return the lines; of a row, whose values may have many, only the first."""
    head, row, _ = text.partition(" (")
    return (head + row).split("\n")


def _places(text: str) -> Iterator[str]:
    """Name the lines and columns; a value that has lines of its own is none of them."""
    for number, line in enumerate(text.split("\n")):
        found = PLACE.match(line)
        if found:
            yield found[0] if found.end() == len(line) else f"{found[0]}: …"
        elif number == 0:
            yield "…"
