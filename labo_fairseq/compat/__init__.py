"""The bridge: the only code that knows the versions of Python, torch, fairseq, hydra and omegaconf.

labo_fairseq_hook loads this folder under a private name, before anybody imports `labo_fairseq`; therefore the modules
here import each other relatively and nothing else of the project. mends.py lists every mend and what it mends.
"""
