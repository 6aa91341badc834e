"""Formats: each module reads and writes Tables in one of them. `registry.FORMATS` holds their names."""
