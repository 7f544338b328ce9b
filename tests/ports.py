"""Ports of the loopback interface that the kernel gives to no other socket.

A run names its callback receiver's port before it binds it, so that port cannot be read back. It is reserved instead:
a socket that is bound and does not listen keeps its port from every bind to port 0 and every outgoing connection,
while a server that names the port may bind it, since both have SO_REUSEADDR (Linux).
"""

import socket

_RESERVED: list[socket.socket] = []


def reserve_port() -> int:
    """Return a port that belongs to whatever is told of it, for as long as this process lives. Nothing listens yet."""
    reserved = socket.socket()
    reserved.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    reserved.bind(("127.0.0.1", 0))
    _RESERVED.append(reserved)
    return int(reserved.getsockname()[1])


def callback_options() -> list[str]:
    """Return the options of a run that is called back, so that it waits for no poll."""
    address = f"127.0.0.1:{reserve_port()}"
    return ["--callback-url", f"http://{address}", "--callback-listen", address]
