"""Storage 'shelf' keeps every promise."""

from shelf import ShelfStore

from docarray.testing import ArrayContract, StoreContract


class TestShelf(StoreContract):
    nests = False

    def open(self, folder):
        return ShelfStore.open({"path": str(folder / "shelf")})


class TestShelfArray(ArrayContract):
    storage = "shelf"

    def config(self, folder):
        return {"path": str(folder / "shelf")}
