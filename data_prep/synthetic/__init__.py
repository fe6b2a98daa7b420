"""The grammar of the embedded corpus: SYNTHETIC German-English sentences, without end, from one seed (sentences.py)."""
