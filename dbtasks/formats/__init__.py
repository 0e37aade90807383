"""Archive formats: telling them apart by their bytes, and opening one without dbtasks."""

from .by_hand import by_hand
from .sniff import sniff

__all__ = ["by_hand", "sniff"]
