"""TorchScript: .pt files of torch.jit.save, and torch.jit.ScriptModule objects."""
