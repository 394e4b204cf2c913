//! Session descriptions: bytes to values and back (RFC 8866).
