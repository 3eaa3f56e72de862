"""The command line: the only composition root. It opens stores, builds engines, serves, checks and runs proofs."""
