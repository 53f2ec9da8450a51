"""Renames damaged files instead of deleting them."""

from __future__ import annotations

from pathlib import Path

KEPT = 10
"""Damaged files of one name that are kept; beyond, somebody has to look first."""


def set_aside(path: Path, *companions: str) -> Path:
    """Rename `path` to `NAME.damaged-N`, and files that belong to it: those whose names end in one of `companions` after
    its own. Returns the new path. Raises OSError, also if there are KEPT of them."""
    for number in range(1, KEPT + 1):
        aside = path.with_name(f"{path.name}.damaged-{number}")
        if aside.exists():
            continue
        path.rename(aside)
        for companion in companions:
            beside = path.with_name(path.name + companion)
            if beside.exists():
                beside.rename(aside.with_name(aside.name + companion))
        return aside
    raise FileExistsError(f"{path.name}.damaged-1 to -{KEPT} exist already: move them elsewhere, something damages this file")
