"""Floor 1, protocol: conversations without sockets, clocks or logs. Bytes go in, events and bytes come out."""
