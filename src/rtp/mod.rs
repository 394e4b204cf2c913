//! RTP and RTCP packets: bytes to values and back (RFC 3550, 3551, 4733).
