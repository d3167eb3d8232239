"""What cannot be seen from outside a node, looked at as two models of their own."""
