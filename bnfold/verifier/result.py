"""Names of `bnfold.verification`, for modules that still look for them here."""

from bnfold.verification import SKIPPED, DeploymentCheck, OutputCheck, Status, TensorCheck, Verification

__all__ = ["SKIPPED", "DeploymentCheck", "OutputCheck", "Status", "TensorCheck", "Verification"]
