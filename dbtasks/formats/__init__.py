"""Archive formats: telling them apart by their bytes, and opening one without dbtasks."""

from .by_hand import by_hand, by_hand_inside
from .sniff import sniff

__all__ = ["by_hand", "by_hand_inside", "sniff"]
