"""A format in the fewest words: the texts of documents, a line each, in capitals."""

from docarray.errors import CorruptData
from docarray.format import Format
from docarray.records import records_of, table_of


class Shouting(Format):
    """Says texts, and nothing else; ids are drawn anew."""

    name = "shouting"
    suffixes = (".loud",)

    def dumps(self, table, *, mark="!"):
        lines = [record.get("text", "").upper() + mark for record in records_of(table)]
        return b"LOUD\n" + "\n".join(lines).encode()

    def loads(self, data):
        head, *lines = bytes(data).decode().split("\n")
        if head != "LOUD":
            raise CorruptData("no shouting")
        return table_of([{"text": line} for line in lines])

    def recognises(self, head):
        return head.startswith(b"LOUD\n")


FORMAT = Shouting()
