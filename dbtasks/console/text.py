"""Sizes, ages, times and tables as plain text."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta

from ..nouns import many

__all__ = [
    "age_text",
    "count_text",
    "duration_text",
    "labelled_lines",
    "listed",
    "many",
    "moment_text",
    "printable",
    "size_text",
    "table_lines",
]

ASCII = str.maketrans(
    {"✓": "+", "✗": "x", "·": "-", "→": "->", "–": "-", "…": "...", "█": "#", "←": "<-", "×": "x"}
)
MIN_WIDTH = 40


def size_text(size_bytes: int) -> str:
    """Return a size for people: `438 MiB`, `1.8 GiB`, `612 B`."""
    size = float(size_bytes)
    for unit in ("B", "KiB", "MiB", "GiB"):
        if size < 1024:
            return f"{size:.0f} {unit}" if unit == "B" or size >= 10 else f"{size:.1f} {unit}"
        size /= 1024
    return f"{size:.1f} TiB"


def count_text(number: int | None) -> str:
    """Return a number with thousands separators, a dash where there is none."""
    return "–" if number is None else f"{number:,}"


def age_text(moment: datetime, now: datetime) -> str:
    """Return how long ago a moment was: `2 min ago`; a clock set back gives `in the future`."""
    seconds = (now - moment).total_seconds()
    if seconds < -60:
        return "in the future"
    for limit, unit, size in ((60, "s", 1), (3600, "min", 60), (172800, "h", 3600), (1209600, "d", 86400)):
        if seconds < limit:
            return f"{max(0, int(seconds // size))} {unit} ago"
    return f"{int(seconds // 604800)} wk ago" if seconds < 63 * 86400 else f"{int(seconds // 2629800)} mo ago"


def listed(parts: Sequence[str]) -> str:
    """Return parts as a sentence names them: `a`, `a and b`, `a, b and c`; empty ones are left out."""
    *head, last = [part for part in parts if part] or [""]
    return f"{', '.join(head)} and {last}" if head else last


def duration_text(duration: timedelta | float) -> str:
    """Return a duration: `0.4 s`, `14 s`, `3 min 20 s`."""
    seconds = duration.total_seconds() if isinstance(duration, timedelta) else duration
    if seconds < 10:
        return f"{seconds:.1f} s"
    if seconds < 60:
        return f"{seconds:.0f} s"
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {rest} s"


def moment_text(moment: datetime) -> str:
    """Return a moment in local time with its offset."""
    return f"{moment.astimezone():%Y-%m-%d %H:%M:%S %z}"


def table_lines(
    header: Sequence[str],
    rows: Sequence[Sequence[str]],
    *,
    right: Sequence[int] = (),
    drop: Sequence[int] = (),
    width: int | None = None,
) -> list[str]:
    """Lay out columns; empty ones are left out, and where they do not fit those in `drop` go, first one first."""
    # what is shown in place of a control character takes room
    rows = [[_visible(cell) for cell in row] for row in rows]
    columns = [i for i in range(len(header)) if any(row[i] for row in rows) or not rows]
    dropping = [i for i in drop if i in columns]
    while True:
        widths = {i: max(len(header[i]), *(len(row[i]) for row in rows), 1) for i in columns}
        if width is None or sum(widths.values()) + 2 * len(columns) <= max(width, MIN_WIDTH) or not dropping:
            break
        columns.remove(dropping.pop(0))
    return [
        "  ".join(
            row[i].rjust(widths[i]) if i in right else row[i].ljust(widths[i]) for i in columns
        ).rstrip()
        for row in (header, *rows)
    ]


def labelled_lines(label: str, text: str, width: int | None, *, indent: int) -> list[str]:
    """Lay out a text behind its label, on as many lines as it needs; words (paths, commands) stay whole."""
    # what is shown in place of a control character takes room, and must not be taken for a blank
    words = _visible(text).split(" ")
    room = max(width or 0, MIN_WIDTH) - indent
    lines = [""]
    for word in words:
        longer = f"{lines[-1]} {word}" if lines[-1] else word
        if width is not None and lines[-1].strip() and len(longer) > room:
            lines.append(word)
        else:
            lines[-1] = longer
    return [
        f"{name:<{indent}}{line}".rstrip()
        for name, line in zip((label, *[""] * len(lines)), lines, strict=False)
    ]


def _visible(text: str) -> str:
    return "".join(c if c.isprintable() else _escape(ord(c)) for c in text)


def _escape(code: int) -> str:
    """Return a character as Python writes it: each length has a letter, so that nobody reads on into what follows."""
    if code < 0x100:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def printable(text: str, encoding: str | None) -> str:
    """Make a line safe for a terminal: control characters shown, not sent; letters the encoding has.

    Database and file names are other people's words: an escape sequence in
    one must not drive the terminal.
    """
    safe = _visible(text)
    try:
        safe.encode(encoding or "ascii")
        return safe
    except (UnicodeEncodeError, LookupError):
        return safe.translate(ASCII).encode("ascii", "backslashreplace").decode("ascii")
