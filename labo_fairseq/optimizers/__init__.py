"""Optimizers for every model of fairseq."""
