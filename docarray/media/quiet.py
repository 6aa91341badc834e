"""Libraries that decode what strangers wrote tell of every oddity: within `quiet` they tell nobody.

Rule 1: what is done within the block speaks by its result or its error. After it the library is as it was.
Rule 2: several threads may be within at a time: the first silences the loggers, the last gives them their voice back.
"""

from __future__ import annotations

import logging
import re
import threading
import warnings
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final, cast

__all__ = ["quiet"]


@dataclass(slots=True)
class _Silence:
    """What is to be undone when the last block ends."""

    blocks: int
    was_heard: bool
    handler: logging.Handler
    filters: list[Any]


_LOCK: Final = threading.Lock()
_SILENT: Final[dict[str, _Silence]] = {}


@contextmanager
def quiet(library: str) -> Generator[None]:
    """Within it a library neither logs nor warns. Text of which numpy reads only the first part for it is an error.

    >>> with quiet('some_library'):
    ...     logging.getLogger('some_library.part').error('nobody sees this')
    """
    with _LOCK:
        if library in _SILENT:
            _SILENT[library].blocks += 1
        else:
            _SILENT[library] = _silenced(library)
    try:
        yield
    finally:
        with _LOCK:
            silence = _SILENT[library]
            silence.blocks -= 1
            if not silence.blocks:
                del _SILENT[library]
                _undo(library, silence)


def _silenced(library: str) -> _Silence:
    logger = logging.getLogger(library)
    # Without any handler, Python itself prints what is worse than INFO.
    silence = _Silence(1, logger.propagate, logging.NullHandler(), [])
    logger.addHandler(silence.handler)
    logger.propagate = False
    # Of text that it can read only the first part of an older numpy warns, a newer one raises.
    # Not `catch_warnings`: it puts back the filters that were there when it began, and so takes away what another
    # thread has set in between. Here two entries come and go.
    module = rf"{re.escape(library)}(\.|$)"
    for action, message, category in (
        ("ignore", "", Warning),
        ("error", "string or file could not be read", DeprecationWarning),
    ):
        warnings.filterwarnings(cast("Any", action), message, category, module)
        silence.filters.append(warnings.filters[0])
    return silence


def _undo(library: str, silence: _Silence) -> None:
    logger = logging.getLogger(library)
    logger.propagate = silence.was_heard
    logger.removeHandler(silence.handler)
    filters = cast("list[Any]", warnings.filters)
    for entry in silence.filters:
        if entry in filters:  # somebody may have put back what was there before
            filters.remove(entry)
