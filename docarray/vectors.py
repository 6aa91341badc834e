"""Vectors: the embeddings of many documents as one matrix that stays true.

A document that lies on Vectors holds a row number instead of an array; its `embedding` is a view of that row.

Rule 1: a document lies on one Vectors at most. One whose embedding is set leaves, and is noted in `changed`.
Rule 2: `settle` writes what changed back into the matrix and takes the documents on again. Where that cannot be
        (another shape or dtype, none at all, taken by another) it says so, and the array gathers anew.
Rule 3: a matrix that somebody gave, or of which somebody has a view, is not written to by `settle`: it goes on
        with a copy. What a document hands out is from then on a view of that; an array kept from before is
        left as it is, and no longer connected.
Rule 4: norms are kept only while nobody can write to the matrix unseen: not where a view was handed out, nor where
        an array of somebody else's is the matrix.
"""

# pyright: reportPrivateUsage=false
# The modules of this floor are friends: they read the slots of documents and arrays (document.py, rule 5).

from __future__ import annotations

from mmap import mmap
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from docarray.nearest import row_norms
from docarray.tensors import Array, framework

if TYPE_CHECKING:
    from docarray.document import Document

__all__ = ["Gathered", "Vectors"]


class Vectors:
    """A matrix (n, *shape) of numpy, torch or scipy.sparse, and what is known of the documents on its rows.

    Args:
        matrix: rows in order; sparse ones of any format.
        owned: whether it may be written to.
    """

    __slots__ = (
        "_is_ours",
        "_norms",
        "_owned",
        "_sliceable",
        "changed",
        "exposed",
        "gone",
        "matrix",
        "version",
    )
    matrix: Any
    changed: dict[int, Document]
    exposed: bool
    gone: bool
    version: int

    def __init__(self, matrix: Any, *, owned: bool) -> None:
        self.matrix = matrix
        self.changed: dict[int, Document] = {}
        self.exposed = False
        self.gone = False  # many documents left at once, without a note of each
        self.version = 0  # counts the times that `settle` gave rows other values
        self._owned = owned
        self._norms: Array | None = None
        self._is_ours = owned or _is_of_a_file(matrix)
        self._sliceable: Any = matrix.tocsr() if framework(matrix) == "scipy" else None

    def peek(self, number: int) -> Any:
        """One row, for reading inside the library."""
        if self._sliceable is None:
            return self.matrix[number]
        return self._sliceable[number : number + 1].asformat(self.matrix.format)

    def row(self, number: int) -> Any:
        """One row for its document to hand out: a view that may be written to, or None where there is none such."""
        if self._sliceable is not None:
            return None
        view: Any = self.matrix[number]
        if isinstance(view, np.generic) or (isinstance(view, np.ndarray) and not view.flags.writeable):
            return None
        self.exposed = True
        return cast("Any", view)

    @property
    def norms(self) -> Array | None:
        """(n,) Euclidean norms of the rows, kept; None while they could change unseen."""
        if self.exposed or not self._is_ours or type(self.matrix) is not np.ndarray or self.matrix.ndim != 2:
            return None
        if self._norms is None:
            self._norms = row_norms(self.matrix)
        return self._norms

    def release(self, docs: list[Document]) -> None:
        """Notes that these documents, all on this matrix, are about to lie elsewhere."""
        if 8 * len(docs) > self.matrix.shape[0]:
            self.gone = True
        else:
            for doc in docs:
                self.changed[doc._row] = doc

    def settle(self) -> bool:
        """Writes changed embeddings into the matrix; False when one does not fit and a new matrix is needed."""
        if self.gone:
            return False
        if not self.changed:
            return True
        if type(self.matrix) is not np.ndarray:
            return False
        matrix = self.matrix
        shape, dtype = matrix.shape[1:], matrix.dtype
        for doc in self.changed.values():
            value = doc._embedding
            if doc._vectors is not None or type(value) is not np.ndarray:
                return False
            if value.shape != shape or value.dtype != dtype:
                return False
        for row, doc in self.changed.items():
            if _is_same_place(doc._embedding, matrix[row]):  # `doc.embedding /= 2` gives the row itself back
                self._take_on(row, doc)
        changed = {row: doc for row, doc in self.changed.items() if doc._vectors is None}
        self.changed = {}
        if not changed:
            return True
        if not self._owned or self.exposed:
            # Somebody may hold a view of a row that is about to be another document's, or another array.
            matrix = self.matrix = matrix.copy()
            self._owned = self._is_ours = True
            self.exposed, self._norms = False, None
        for row, doc in changed.items():
            matrix[row] = doc._embedding
            self._take_on(row, doc)
        if self._norms is not None:
            rows = np.fromiter(changed, np.intp, len(changed))
            self._norms[rows] = row_norms(matrix[rows])
        self.version += 1
        return True

    def _take_on(self, row: int, doc: Document) -> None:
        doc._embedding = None
        doc._vectors, doc._row = self, row


def _is_of_a_file(matrix: Any) -> bool:
    """Whether the memory is that of bytes or of a mapped file, which nobody else has as an array."""
    while isinstance(matrix, np.ndarray):
        matrix = cast("Any", matrix.base)
    return isinstance(matrix, memoryview) and isinstance(matrix.obj, (bytes, mmap))


def _is_same_place(value: Array, row: Array) -> bool:
    return (
        value.base is not None
        and value.strides == row.strides
        and value.__array_interface__["data"] == row.__array_interface__["data"]
    )


class Gathered:
    """The embeddings of an array, in its order, as rows of a Vectors.

    Args:
        vectors: the matrix.
        rows: the rows of it that the array has: None for all in order, a slice, or (n,) intp.
        count: how many documents the array had.
    """

    __slots__ = ("_taken", "_version", "count", "rows", "vectors")
    vectors: Vectors
    rows: slice | Array | None
    count: int

    def __init__(self, vectors: Vectors, rows: slice | Array | None, count: int) -> None:
        self.vectors = vectors
        self.rows = rows
        self.count = count
        self._taken: Any = None
        self._version = -1

    def is_true(self, count: int) -> bool:
        """Whether this still is what an array of `count` documents has; changed rows are written back first."""
        return self.count == count and self.vectors.settle()

    @property
    def matrix(self) -> Any:
        """(n, *shape) in the array's order; without copy unless the order is its own."""
        vectors, rows = self.vectors, self.rows
        if rows is None:
            return vectors.matrix
        if isinstance(rows, slice):
            return vectors.matrix[rows]
        if self._taken is None or vectors.exposed or self._version != vectors.version:
            source = vectors.matrix if vectors._sliceable is None else vectors._sliceable
            self._taken, self._version = source[rows], vectors.version
        return self._taken

    @property
    def norms(self) -> Array | None:
        """(n,) norms of the rows of `matrix`; None while they are not kept."""
        norms = self.vectors.norms
        return norms if norms is None or self.rows is None else norms[self.rows]
