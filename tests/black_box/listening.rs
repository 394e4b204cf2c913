//! A TCP listener of a test, for those whom the server connects to.

use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};

use socket2::SockRef;

use crate::sip_phone::ANSWER_MAX;

/// See the module.
pub(crate) struct Listening {
    listener: TcpListener,
    pub(crate) address: SocketAddr,
}

impl Listening {
    pub(crate) fn start() -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        SockRef::from(&listener).set_read_timeout(Some(ANSWER_MAX)).unwrap();
        let address = listener.local_addr().unwrap();
        Self { listener, address }
    }

    /// The next connection.
    #[track_caller]
    pub(crate) fn accept(&self) -> TcpStream {
        match self.listener.accept() {
            Ok((stream, _)) => stream,
            Err(error) => panic!("nobody connects: {error}"),
        }
    }

    /// Whether somebody has connected who was not accepted yet.
    pub(crate) fn is_connected_to(&self) -> bool {
        self.listener.set_nonblocking(true).unwrap();
        let accepted = self.listener.accept();
        self.listener.set_nonblocking(false).unwrap();
        accepted.is_ok()
    }
}
