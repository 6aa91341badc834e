"""The rooms of the media: one module each, on the library that is made for it, imported when it is asked for.

Rule 1: pure functions on arrays and bytes come first; what changes a document is built on them.
Rule 2: bytes are not believed: what they claim to be, and how large, is checked before memory is given to it.
Rule 3: an error names the document and its uri, and leaves the document as it was.
"""
