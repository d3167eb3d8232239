"""Changed tensors by themselves: two subgraphs in float64, and the law that they are held to."""
