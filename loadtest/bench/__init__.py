"""Benchmarks of the parts: `python -m loadtest.bench [NAME ...]` runs all modules of this folder or those named."""
