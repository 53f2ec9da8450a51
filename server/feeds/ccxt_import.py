"""Imports ccxt without the exchanges that are not used: importing all of them takes four fifths of the server's start.

`from server.feeds.ccxt_import import ccxt` in place of `import ccxt.pro`. ccxt itself is not changed; the modules of
other exchanges are left empty while it is imported for the first time.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType

WANTED = ("binance", "okx", "bybit")
"""Prefixes of the exchange ids that are loaded: binance, binanceusdm ..."""

_PACKAGES = ("ccxt", "ccxt.async_support", "ccxt.pro")
_NO_EXCHANGES = ("abstract", "async_support", "base", "pro", "static_dependencies")


class _OtherExchanges(MetaPathFinder, Loader):
    """Answers for the modules of exchanges that are not wanted, with an empty class of the module's name."""

    def find_spec(self, name: str, path: Sequence[str] | None, target: ModuleType | None = None) -> ModuleSpec | None:
        package, _, last = name.rpartition(".")
        if package not in _PACKAGES or last in _NO_EXCHANGES:
            return None
        # The package itself holds the blocking classes, which nobody here asks for either.
        return None if package != "ccxt" and last.startswith(WANTED) else ModuleSpec(name, self)

    def exec_module(self, module: ModuleType) -> None:
        name = module.__name__.rpartition(".")[2]
        setattr(module, name, type(name, (), {}))


_others = _OtherExchanges()
sys.meta_path.insert(0, _others)
try:
    import ccxt
    import ccxt.pro
finally:
    sys.meta_path.remove(_others)

__all__ = ["ccxt"]
