"""The array in memory keeps the promises that arrays on storages keep."""

from __future__ import annotations

from docarray.testing import ArrayContract


class TestMemory(ArrayContract):
    survives = False
    copies = False
    transactions = False
