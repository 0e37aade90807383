"""The console script: the same collection without a tasks.py."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from invoke.exceptions import ParseError
from invoke.program import Program

__all__ = ["main"]


class _Program(Program):
    """Invoke's program with our tasks at its root and the project's invoke.yaml."""

    def update_config(self, merge: bool = True) -> None:
        """Load the project's configuration: Invoke itself looks for it beside a tasks.py only."""
        from .settings import find_root

        self.config.set_project_location(find_root(Path.cwd()))
        self.config.load_project(merge=False)
        super().update_config(merge=merge)

    def parse_tasks(self) -> None:
        """Read the command line; a word that is no task was meant for a flag."""
        try:
            super().parse_tasks()
        except ParseError as exc:
            said = str(exc)
            if said.startswith("No idea what "):
                said += "\n  hint: what a task is to work on is said by a flag, such as --file=…; dbtasks --list names the tasks"
            raise ParseError(said, exc.context) from exc

    def print_task_help(self, name: str) -> None:
        """Print a task's help with its examples as they are typed here."""
        task = self.collection[name]
        task.__doc__ = (task.__doc__ or "").replace("invoke db.", "dbtasks ")
        super().print_task_help(name)


def main(argv: list[str] | None = None) -> Any:
    """Run `dbtasks TASK …`."""
    from . import __version__, ns

    return _Program(name="dbtasks", binary="dbtasks", version=__version__, namespace=ns).run(argv)


if __name__ == "__main__":
    main()
