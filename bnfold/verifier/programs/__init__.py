"""The verifier of programs of PyTorch. Its modules import torch late, or not at all."""
