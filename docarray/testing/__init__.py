"""What every storage is held to, for those who write one: a test class of a few lines joins all of it.

    from docarray.testing import ArrayContract, StoreContract

    class TestShelf(StoreContract):
        def open(self, folder):
            return ShelfStore(folder / "shelf")

    class TestShelfArray(ArrayContract):
        storage = "shelf"

        def config(self, folder):
            return {"path": str(folder / "shelf")}

Needs pytest and hypothesis, `pip install "docarray[testing]"`; nothing else of the library does.
"""

# ruff: noqa: E402

from docarray.registry import require

require("hypothesis", "docarray.testing", '"docarray[testing]"')
# Otherwise a failing assertion of these would say no more than that it failed.
require("pytest", "docarray.testing", '"docarray[testing]"').register_assert_rewrite(
    "docarray.testing.arrays", "docarray.testing.machine", "docarray.testing.stores"
)

from docarray.testing.arrays import ArrayContract
from docarray.testing.machine import ArrayMachine, StoreMachine
from docarray.testing.plain import PlainStore
from docarray.testing.sameness import difference
from docarray.testing.stores import StoreContract

__all__ = ["ArrayContract", "ArrayMachine", "PlainStore", "StoreContract", "StoreMachine", "difference"]
