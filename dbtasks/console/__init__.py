"""Everything a person sees or answers. The only package that prints.

`Console` takes events while work is done (stderr) and shows one result at the
end (stdout); `screens` turn results into lines, `documents` into JSON.
"""

from .console import Console

__all__ = ["Console"]
