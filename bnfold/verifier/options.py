"""Names of `bnfold.verification`, for modules that still look for them here."""

from bnfold.verification import VerifyOptions

__all__ = ["VerifyOptions"]
