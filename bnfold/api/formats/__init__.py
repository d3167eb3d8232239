"""The formats that bnfold folds: what the pipeline asks of each, and one implementation per format."""
