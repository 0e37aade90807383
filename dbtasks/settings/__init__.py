"""Settings: one table of keys, a pure resolution over levels, frozen values.

Reading order: `keys` is the table everything is generated from, `families`
understands the conventional names (DATABASE_URL, DB_*, …), `resolve` puts the
levels on top of each other, `sources` reads the real environment and files.
"""

from .keys import KEYS, Key
from .resolve import Levels, NoContainer, Setting, Settings, resolve_settings
from .sources import find_root, load_settings, read_dotenv

__all__ = [
    "KEYS",
    "Key",
    "Levels",
    "NoContainer",
    "Setting",
    "Settings",
    "find_root",
    "load_settings",
    "read_dotenv",
    "resolve_settings",
]
