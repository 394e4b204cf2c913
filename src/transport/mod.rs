//! The transport layer without sockets (RFC 3261 §18, 3581).
