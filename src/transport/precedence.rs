//! Which datagrams may wait when more come than can be looked at (RFC 7339 §5.10.1: requests within dialogs go before
//! those that begin one).

/// Whether a datagram looks like an INVITE that begins a call. A glance, not a reading: what it takes wrongly for one
/// waits longer and is treated no worse.
pub fn begins_call(datagram: &[u8]) -> bool {
    if !datagram.starts_with(b"INVITE ") {
        return false;
    }
    let to = memchr::memmem::find(datagram, b"\r\nTo:").or_else(|| memchr::memmem::find(datagram, b"\r\nt:"));
    let line = to.and_then(|at| datagram.get(at + 2..)).unwrap_or_default();
    let line = line.split(|byte| *byte == b'\r').next().unwrap_or_default();
    memchr::memmem::find(line, b";tag=").is_none()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_invites_without_a_to_tag_begin_a_call() {
        let with = |start: &str, to: &str| {
            begins_call(format!("{start} sip:a SIP/2.0\r\nFrom: <sip:b>;tag=1\r\n{to}\r\nCSeq: 1\r\n\r\n").as_bytes())
        };
        assert!(with("INVITE", "To: <sip:a>"));
        assert!(with("INVITE", "t:sip:a"));
        assert!(with("INVITE", "X: y"));
        assert!(!with("INVITE", "To: <sip:a>;tag=2"));
        assert!(!with("INVITE", "t: <sip:a>;x=y;tag=2"));
        assert!(!with("BYE", "To: <sip:a>;tag=2"));
        assert!(!with("ACK", "To: <sip:a>"));
        assert!(!begins_call(b""));
    }
}
