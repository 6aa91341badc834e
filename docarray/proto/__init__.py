"""The protobuf messages of documents: `docarray.proto`, and the code that the protobuf compiler makes of it."""
