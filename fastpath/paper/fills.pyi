"""Fills of paper orders from the books and trades of their venue.

`mirror_command` carries out a MIRROR_* command.

For other compiled modules only: nothing to import from Python.
"""
