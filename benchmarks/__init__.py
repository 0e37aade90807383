"""How fast, and in how much memory: every route beside its yardstick, in one run.

    invoke bench --quick

`cases` is the table of what is measured and what is aimed at, `groups` says
which commands run side by side, `measure` runs one, `rounds` interleaves them,
`report` writes the page. The databases come from `postgres_data` and
`sqlite_data`, the servers from `servers` and `containers`.
"""
