"""The frontends: each decodes the nodes of one file format to meanings, and encodes changed meanings as nodes."""
