"""PyTorch's operators (aten), free of how a program is stored: one graph, one port for TorchScript and torch.export."""
