"""What the service does with documents: gives them vectors, keeps them, finds them.

Rule 1: a sticker is a document with a caption and a picture, each searched by a vector of its own: the caption by the
        meaning of its words, the picture by its colours and edges.
Rule 2: a picture comes as the bytes of its file. No uri is followed, whoever sent it.
Rule 3: what is wrong with a request is told to who asked: BadRequest.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from docarray import Document, DocumentArray, dataclass
from docarray.demo import model
from docarray.errors import BadValue, FormatError, UnknownField
from docarray.flow import Executor, requests
from docarray.flow.faults import BadRequest
from docarray.fusion import rrf
from docarray.media import image
from docarray.typing import Image, Text
from docarray.web import Limits

FILE = "stickers.db"
PICTURES = "@.[picture]"  # the path of all pictures, which have an index of their own
TAGS = ("shape", "colour", "price")
PIXELS = 4_000_000  # of a picture that somebody asks with
MANY = 100  # questions of one request, and parts of a question
LIMITS = Limits(text=1_000, filter_terms=64)


@dataclass
class Sticker:
    name: str
    caption: Text
    picture: Image
    shape: str
    colour: str
    price: float


class Wanted(BaseModel):
    """What a search may be told."""

    model_config = ConfigDict(extra="forbid")

    limit: int = Field(9, ge=1, le=100, description="how many stickers")
    filter: dict[str, Any] | None = Field(
        None, description='which stickers, as in {"tags__price": {"$lt": 2}}'
    )


class Encoder(Executor):
    """Gives captions, pictures and questions their vectors."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.words = model("wordllama")

    def warmup(self) -> None:
        self.words.question("loads what is loaded late")

    @requests(on="/index", idempotent=True)
    def encode(self, doc: Sticker, **kwargs: Any) -> Document:
        """Stickers, to be indexed. One of a name that is there takes its place."""
        made = Document(doc)
        made.id = doc.name
        caption, picture = made.caption, made.picture
        made.text, made.embedding = caption.text, self.of_text(caption)
        picture.embedding = self.of_picture(picture)
        picture.tags = {name: made.tags[name] for name in TAGS}  # filters of pictures ask these
        return made

    @requests(on="/search", idempotent=True)
    def ask(self, docs: DocumentArray, **kwargs: Any) -> None:
        """Questions: documents with text, or with a picture as `blob`, or with chunks that have one of the two each."""
        if max(len(docs), *(len(doc.chunks) for doc in docs), 0) > MANY:
            raise BadRequest(f"a request has {MANY} questions at most, and a question as many parts")
        for doc in docs:
            for part in doc.chunks or [doc]:
                part.embedding = self.of_picture(part) if part.blob else self.of_text(part)

    def of_text(self, doc: Document) -> Any:
        if not doc.text.strip() or len(doc.text) > LIMITS.text:
            raise BadRequest(
                f"document {doc.id!r} has neither a text of 1 to {LIMITS.text} letters nor a picture as blob"
            )
        return self.words.question(doc.text)

    def of_picture(self, doc: Document) -> Any:
        try:
            pixels = image.decode(doc.blob or b"", max_pixels=PIXELS)
        except FormatError as error:
            raise BadRequest(f"the picture of document {doc.id!r} cannot be read: {error}") from None
        return DocumentArray([Document(tensor=pixels)]).embed_image_features(cells=6).embeddings[0]


class Shelf(Executor):
    """The file of stickers, open: rows in SQLite, and an HNSW index each of captions and of pictures."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.stickers = DocumentArray(
            storage="hnswlib",
            config={
                "connection": str(Path(self.workspace, FILE)),
                "columns": {"price": "float", "shape": "str"},
            },
            subindex_configs={PICTURES: None},
        )

    def close(self) -> None:
        self.stickers.close()


class Indexer(Shelf):
    """Writes to the file."""

    @requests(on="/index", idempotent=True)
    def index(self, docs: DocumentArray, **kwargs: Any) -> DocumentArray:
        """Keeps stickers, all or none, and answers with their ids."""
        self.stickers.upsert(docs)
        return DocumentArray(Document(id=doc.id) for doc in docs)

    @requests(on="/delete", idempotent=True)
    def delete(self, docs: DocumentArray, **kwargs: Any) -> None:
        """Takes out the stickers of these ids; those that are not there are as good as taken out."""
        with self.stickers:
            for doc in docs:
                if doc.id in self.stickers:
                    del self.stickers[doc.id]

    @requests(on="/status", idempotent=True)
    def status(self, **kwargs: Any) -> dict[str, Any]:
        """How many stickers there are, and of which shapes, in `parameters.__results__`."""
        return {"stickers": len(self.stickers), "shapes": sorted(set(self.stickers[:, "tags__shape"]))}


class Searcher(Shelf):
    """Reads the file."""

    @requests(on="/search", idempotent=True)
    def search(self, docs: DocumentArray, parameters: Wanted, **kwargs: Any) -> DocumentArray:
        """Gives each question the stickers that are nearest to it, as `matches`. Without a question it gives stickers
        as they stand on the shelf.
        """
        try:
            kept = LIMITS.condition(parameters.filter) or {}
            if not docs:
                return DocumentArray(map(self.shown, self.stickers.find(kept, limit=parameters.limit)))
            for doc in docs:
                doc.matches = self.found(doc, parameters.limit, kept)
                doc.pop("embedding", "blob", "chunks")  # whoever asked knows
        except (BadValue, UnknownField) as error:
            raise BadRequest(f"filter: {error}") from None
        return docs

    def found(self, question: Document, limit: int, kept: dict[str, Any]) -> list[Document]:
        """The stickers nearest to a question. Those of several parts are ranked by their places for each."""
        if not question.chunks:
            return [self.shown(hit) for hit in self.nearest(question, limit, kept)]
        rankings = [self.nearest(part, 3 * limit, kept) for part in question.chunks]
        hits = {hit.id: hit for ranking in rankings for hit in ranking}
        best = rrf([ranking[:, "id"] for ranking in rankings])[:limit]
        for key, score in best:
            hits[key].scores = {"rrf": score}
        return [self.shown(hits[key]) for key, _ in best]

    def nearest(self, part: Document, limit: int, kept: dict[str, Any]) -> DocumentArray:
        on = {"on": PICTURES, "return_root": True} if part.blob else {}
        return self.stickers.find(part.embedding, limit=limit, filter=kept or None, **on)

    @staticmethod
    def shown(hit: Document) -> Document:
        """A sticker without what only searches need; `Sticker(shown)` is the object again."""
        out = Document(hit, copy=True)
        out.embedding = None
        for chunk in out.chunks:
            chunk.embedding = None
        return out
