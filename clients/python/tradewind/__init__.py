"""Tradewind, a self-hosted trading backend, from Python."""
