"""How requests leave this machine: directly or through a proxy, and which certificates are trusted."""

from batchswap.network.connections import Connections
from batchswap.network.faults import ProxyFault
from batchswap.network.proxy_address import ProxyAddress
from batchswap.network.routes import DIRECT, Routes, routes_of

__all__ = ["DIRECT", "Connections", "ProxyAddress", "ProxyFault", "Routes", "routes_of"]
