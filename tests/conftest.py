"""Hypothesis profiles: "ci" draws the same examples every time, "deep" searches further."""

import os

from hypothesis import settings

settings.register_profile("ci", max_examples=50, derandomize=True, deadline=None, database=None)
settings.register_profile("deep", max_examples=2000, deadline=None)
settings.load_profile(os.environ.get("BNFOLD_HYPOTHESIS_PROFILE", "ci"))
