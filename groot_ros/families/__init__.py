"""Model families; only `registry` and `family` may be imported from outside this package."""
