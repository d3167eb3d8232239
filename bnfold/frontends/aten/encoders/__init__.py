"""From meanings back to operators, one module per family, as the decoders have them."""
