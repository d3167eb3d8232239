"""`python -m bnfold` is `bnfold`."""

from bnfold.cli.process import run_and_exit

run_and_exit()
