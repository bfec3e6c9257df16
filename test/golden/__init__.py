"""Read golden sets and compare this package with them; one module per format."""
