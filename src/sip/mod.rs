//! SIP messages: bytes to values and back, without state (RFC 3261 §7, §19, §20, §25).
