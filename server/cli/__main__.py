"""`python -m server.cli`: the command `tradewind` where it is not installed as one."""

from server.cli.main import main

main()
