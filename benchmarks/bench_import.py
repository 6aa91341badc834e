"""What does a program pay that only says `import docarray`?"""

from pair import Row, main

ROWS = [
    Row(name="import, cold, beside numpy", task="import_docarray", peer="import_numpy", side="numpy",
        within=1.5, rounds=15),
    Row(name="import, cold", task="import_docarray", within=0.35, rounds=9),
    Row(name="import of the runtime, beside the library", task="import_flow", peer="import_docarray", side="docarray",
        within=1.5, rounds=15),
    Row(name="modules loaded, beside numpy", task="modules_docarray", peer="modules_numpy", side="numpy",
        rounds=1, unit="modules"),
    Row(name="modules loaded", task="modules_docarray", rounds=1, unit="modules"),
    Row(name="installed size, with all it needs", task="installed_size", below=75e6, rounds=1, fresh=True,
        unit="B"),
]  # fmt: skip

if __name__ == "__main__":
    main(__doc__, ROWS)
