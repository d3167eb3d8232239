"""What runs the models, and what it feeds them."""
