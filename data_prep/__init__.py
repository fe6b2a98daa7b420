"""Corpora to fairseq binaries: one module per corpus on shared steps; run as `labo prepare` (see cli.py)."""
