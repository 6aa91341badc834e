from shelf import ShelfStore

from docarray.testing import StoreContract


class TestShelf(StoreContract):
    nests = False

    def open(self, folder):
        return ShelfStore(folder / "shelf")
