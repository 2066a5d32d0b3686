"""Floor 2, net: bytes in motion. Connections, dialing, TLS contexts, DNS. No meaning of what is said."""
