"""
What a run can fail of, and how an error is told in a line.
"""

from __future__ import annotations


class RunFailed(Exception):
    """What a checker found, or a process that ended as none may."""


def parts_of(error: BaseException | None) -> list[BaseException]:
    if isinstance(error, BaseExceptionGroup):
        return [part for each in error.exceptions for part in parts_of(each)]
    return [error] if error is not None else []


def first_line(error: BaseException | None) -> str:
    found = parts_of(error)
    return f"{type(found[0]).__name__}: {str(found[0]).splitlines()[:1]}" if found else "nothing"
