"""Parts of two graphs cut out and judged by themselves."""
