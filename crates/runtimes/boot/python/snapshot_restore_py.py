"""Hooks of SnapStart: what a function does before its environment waits, and when it is restored.

The names are those of Lambda's package. Both functions serve as decorators; further arguments are kept for the call.
"""

_before_snapshot = []
_after_restore = []


def register_before_snapshot(func, *args, **kwargs):
    """Has `func` called after the initialisation, in reverse order of registration."""
    _before_snapshot.append((func, args, kwargs))
    return func


def register_after_restore(func, *args, **kwargs):
    """Has `func` called before the first invocation, in order of registration."""
    _after_restore.append((func, args, kwargs))
    return func


def get_before_snapshot():
    """The calls registered so far."""
    return _before_snapshot


def get_after_restore():
    """The calls registered so far."""
    return _after_restore
