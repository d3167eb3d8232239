"""`python -m bnfold` is `bnfold`."""

import sys

from bnfold.cli.main import main

sys.exit(main())
