"""`python -m labo_fairseq.recipe`, by which scripts call experiment/recipe.py."""

import sys

from .experiment.recipe import main

if __name__ == "__main__":
    sys.exit(main())
