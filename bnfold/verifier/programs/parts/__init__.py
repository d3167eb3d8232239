"""Programs of torch cut into parts: where two differ, each changed part of both runs alone, in float64."""
