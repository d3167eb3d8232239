"""The two models that are compared: their structure, and where they part."""
