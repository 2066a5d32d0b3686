"""Floor 0, words: what mail is made of. Addresses, replies, envelopes, messages, reports. No sockets, no storage."""
