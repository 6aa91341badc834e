from shelf import ShelfStore

from docarray.testing import ArrayContract, StoreContract


class TestShelf(StoreContract):
    nests = False

    def open(self, folder):
        return ShelfStore(folder / "shelf")


class TestShelfArray(ArrayContract):
    storage = "shelf"

    def config(self, folder):
        return {"path": str(folder / "shelf")}
