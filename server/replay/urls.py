"""Pointing an unmodified ccxt exchange at a replay exchange."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlsplit


def redirect(exchange: Any, base_url: str) -> None:
    """Rewrite every leaf of `exchange.urls['api']` so that it leads to `base_url`.

    `base_url` is what `ReplayExchange.base_url(venue)` gives, `http://127.0.0.1:<port>/<venue>`. The venue's
    own host name becomes the first segment of the path (`wss://stream.binance.com:9443/ws` becomes
    `ws://127.0.0.1:<port>/binance/stream.binance.com/ws`): several of a venue's hosts serve the same paths, and
    ccxt itself tells a Binance spot connection by `/stream` and a Bybit one by `spot` in the URL.
    Placeholders such as `{hostname}` are kept; ccxt fills them in later.
    """
    base = urlsplit(base_url)
    if base.scheme != "http" or not base.netloc:
        raise ValueError(f"base_url must look like http://127.0.0.1:8080/binance, got {base_url!r}")
    exchange.urls["api"] = _rewrite(exchange.urls["api"], base.netloc + base.path.rstrip("/"))


def _rewrite(node: Any, base: str) -> Any:
    if isinstance(node, dict):
        return {key: _rewrite(value, base) for key, value in node.items()}
    if not isinstance(node, str):
        return node
    scheme, _, rest = node.partition("://")
    host, slash, path = rest.partition("/")
    return f"{'ws' if scheme in ('ws', 'wss') else 'http'}://{base}/{host.partition(':')[0]}{slash}{path}"
