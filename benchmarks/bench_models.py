"""What do models of pydantic cost, beside the old library, and fields beside pydantic alone? Times are a document."""

from pair import Row, main

N = 2_000
KINDS = {"plain": "text and tags", "full": "text, tags and 128 numbers"}

ROWS = [
    *(
        # Python makes an object of each of 128 numbers, here as there: less is left to be saved.
        Row(
            name=f"{name}, {said}",
            task=f"{task}_{kind}",
            n=N,
            faster=goal,
        )
        for name, task, goal in (
            ("to_pydantic_model", "model_to", 3),
            ("from_pydantic_model", "model_from", 3),
            ("to_dict", "document_to_dict", 10),
            ("an array to models", "models_to", 3),
            ("an array from models", "models_from", 3),
        )
        for kind, said in KINDS.items()
    ),
    # 768 numbers each: JSON to a DocumentArray and its matrix, beside JSON to models and a matrix of their lists.
    Row(name="JSON to a field, 768 numbers", task="field_read", peer="raw_read", side="pydantic", n=500),
    Row(name="a field to JSON, 768 numbers", task="field_write", peer="raw_write", side="pydantic", n=500),
    Row(
        name="dicts to a field, text and tags",
        task="field_read_short",
        peer="raw_read_short",
        side="pydantic",
        n=N,
    ),
]

if __name__ == "__main__":
    main(__doc__, ROWS)
