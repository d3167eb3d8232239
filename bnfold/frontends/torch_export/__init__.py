"""torch.export: programs and .pt2 files."""
