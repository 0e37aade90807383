"""Tables in the order of their foreign keys: what is referred to comes first. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

__all__ = ["ordered"]


def ordered(
    names: Iterable[str], wants: Mapping[str, Iterable[str]]
) -> tuple[tuple[str, ...], tuple[tuple[str, ...], ...]]:
    """Return the names, each behind those it wants, and the circles among them.

    Those of a circle stand together, in alphabetical order. One that wants itself is no circle.
    """
    every = sorted(names)
    known = set(every)
    found: list[tuple[str, ...]] = []
    index: dict[str, int] = {}
    low: dict[str, int] = {}
    path: list[str] = []
    on_path: set[str] = set()
    for start in every:
        if start in index:
            continue
        # Tarjan's, without recursion: a chain of tables may be long
        work = [(start, iter(sorted(known.intersection(wants.get(start, ())))))]
        index[start] = low[start] = len(index)
        path.append(start)
        on_path.add(start)
        while work:
            name, ahead = work[-1]
            following = next(ahead, None)
            if following is None:
                work.pop()
                if work:
                    above = work[-1][0]
                    low[above] = min(low[above], low[name])
                if low[name] == index[name]:
                    at = path.index(name)
                    found.append(tuple(sorted(path[at:])))
                    on_path.difference_update(path[at:])
                    del path[at:]
            elif following not in index:
                index[following] = low[following] = len(index)
                path.append(following)
                on_path.add(following)
                work.append((following, iter(sorted(known.intersection(wants.get(following, ()))))))
            elif following in on_path:
                low[name] = min(low[name], index[following])
    return tuple(name for group in found for name in group), tuple(one for one in found if len(one) > 1)
