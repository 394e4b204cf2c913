//! The system calls of a media thread: datagrams in batches (`recvmmsg`, `sendmmsg`), waiting on many sockets (`epoll`),
//! being woken (`eventfd`).
//!
//! All `unsafe` code of the media path is here; what leaves this file is safe to use.
#![expect(unsafe_code, reason = "the standard library has neither batched datagrams nor epoll nor eventfd")]
#![expect(
    clippy::cast_possible_truncation,
    reason = "sizes of socket addresses and of batches are small constants of type usize"
)]

use std::fs::File;
use std::io::{self, Read, Write};
use std::mem::{MaybeUninit, size_of};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::ptr;
use std::time::Duration;

use crate::limits::{EPOLL_EVENTS_MAX, RTP_DATAGRAM_BYTES_MAX, UDP_BATCH_DATAGRAMS_MAX};

/// Room for the datagrams that one call may receive.
#[derive(Debug)]
pub struct ReceiveBatch {
    /// One byte more than a datagram may have, so that a longer one is noticed by its length.
    buffers: Box<[[u8; BUFFER_LEN]; UDP_BATCH_DATAGRAMS_MAX]>,
    names: Box<Names>,
    /// Of the last call: the senders and lengths.
    received: Vec<(SocketAddr, usize)>,
}

impl ReceiveBatch {
    /// Allocates the room, once.
    pub fn new() -> Self {
        Self {
            buffers: Box::new([[0; BUFFER_LEN]; UDP_BATCH_DATAGRAMS_MAX]),
            names: no_names(),
            received: Vec::with_capacity(UDP_BATCH_DATAGRAMS_MAX),
        }
    }

    /// Receives what waits on a non-blocking socket, at most [`UDP_BATCH_DATAGRAMS_MAX`] datagrams, and returns how many
    /// there were; none if none waits. A datagram longer than [`RTP_DATAGRAM_BYTES_MAX`] is cut, but stays longer than
    /// that.
    ///
    /// # Errors
    ///
    /// What the system says, except that the call would block or was interrupted.
    pub fn receive(&mut self, socket: BorrowedFd<'_>) -> io::Result<usize> {
        self.received.clear();
        let mut pieces = [libc::iovec { iov_base: ptr::null_mut(), iov_len: 0 }; UDP_BATCH_DATAGRAMS_MAX];
        // SAFETY: an all-zero `mmsghdr` is valid: null pointers with zero lengths.
        let mut headers: [libc::mmsghdr; UDP_BATCH_DATAGRAMS_MAX] = unsafe { MaybeUninit::zeroed().assume_init() };
        for (((header, piece), name), buffer) in
            headers.iter_mut().zip(&mut pieces).zip(self.names.iter_mut()).zip(self.buffers.iter_mut())
        {
            *piece = libc::iovec { iov_base: buffer.as_mut_ptr().cast(), iov_len: buffer.len() };
            header.msg_hdr.msg_name = name.as_mut_ptr().cast();
            header.msg_hdr.msg_namelen = size_of::<libc::sockaddr_storage>() as libc::socklen_t;
            header.msg_hdr.msg_iov = piece;
            header.msg_hdr.msg_iovlen = 1;
        }
        // SAFETY: every header points to a name, to one `iovec` and through it to a buffer, all with their true lengths;
        // all of them outlive the call, and nothing else refers to them during it.
        let count = unsafe {
            libc::recvmmsg(
                socket.as_raw_fd(),
                headers.as_mut_ptr(),
                headers.len() as libc::c_uint,
                libc::MSG_DONTWAIT,
                ptr::null_mut(),
            )
        };
        let count = match usize::try_from(count) {
            Ok(count) => count,
            Err(_negative) => return none_if_idle(io::Error::last_os_error()),
        };
        for (header, name) in headers.iter().zip(self.names.iter()).take(count) {
            // SAFETY: zeroed when it was made, it is a valid `sockaddr_storage`; the system may have written an address.
            let name = unsafe { name.assume_init_ref() };
            let len = usize::try_from(header.msg_len).unwrap_or(usize::MAX).min(BUFFER_LEN);
            self.received.push((read_address(name), len));
        }
        Ok(count)
    }

    /// As [`ReceiveBatch::receive`], but at most one datagram: cheaper for a socket on which no more than one waits.
    ///
    /// # Errors
    ///
    /// As of [`ReceiveBatch::receive`].
    pub fn receive_one(&mut self, socket: BorrowedFd<'_>) -> io::Result<usize> {
        self.received.clear();
        let (Some(buffer), Some(name)) = (self.buffers.first_mut(), self.names.first_mut()) else {
            return Ok(0);
        };
        let mut name_len = size_of::<libc::sockaddr_storage>() as libc::socklen_t;
        // SAFETY: buffer, name and its length are what they are said to be and outlive the call, and nothing else refers
        // to them during it.
        let len = unsafe {
            libc::recvfrom(
                socket.as_raw_fd(),
                buffer.as_mut_ptr().cast(),
                buffer.len(),
                libc::MSG_DONTWAIT,
                name.as_mut_ptr().cast(),
                &raw mut name_len,
            )
        };
        let Ok(len) = usize::try_from(len) else {
            return none_if_idle(io::Error::last_os_error());
        };
        // SAFETY: zeroed when it was made, it is a valid `sockaddr_storage`; the system may have written an address.
        let name = unsafe { name.assume_init_ref() };
        self.received.push((read_address(name), len.min(BUFFER_LEN)));
        Ok(1)
    }

    /// As [`Self::iter`], to be changed in place.
    pub fn iter_mut(&mut self) -> impl Iterator<Item = (SocketAddr, &mut [u8])> {
        self.received.iter().zip(self.buffers.iter_mut()).map(|((from, len), buffer)| {
            let len = (*len).min(buffer.len());
            (*from, buffer.get_mut(..len).unwrap_or_default())
        })
    }

    /// The datagrams of the last call and their senders. An IPv4 sender on an IPv6 socket is given as IPv4.
    pub fn iter(&self) -> impl Iterator<Item = (SocketAddr, &[u8])> {
        self.received
            .iter()
            .zip(self.buffers.iter())
            .map(|((from, len), buffer)| (*from, buffer.get(..*len).unwrap_or(buffer)))
    }
}

impl Default for ReceiveBatch {
    fn default() -> Self {
        Self::new()
    }
}

/// Datagrams to be sent from one socket.
#[derive(Debug)]
pub struct SendBatch {
    buffers: Box<[[u8; RTP_DATAGRAM_BYTES_MAX]; UDP_BATCH_DATAGRAMS_MAX]>,
    names: Box<Names>,
    queued: Vec<(SocketAddr, usize)>,
}

/// The addresses of a batch, as the system has them.
type Names = [MaybeUninit<libc::sockaddr_storage>; UDP_BATCH_DATAGRAMS_MAX];

fn no_names() -> Box<Names> {
    Box::new([const { MaybeUninit::zeroed() }; UDP_BATCH_DATAGRAMS_MAX])
}

impl SendBatch {
    /// Allocates the room, once.
    pub fn new() -> Self {
        Self {
            buffers: Box::new([[0; RTP_DATAGRAM_BYTES_MAX]; UDP_BATCH_DATAGRAMS_MAX]),
            names: no_names(),
            queued: Vec::with_capacity(UDP_BATCH_DATAGRAMS_MAX),
        }
    }

    /// Whether [`SendBatch::push`] would find no room.
    pub fn is_full(&self) -> bool {
        self.queued.len() == UDP_BATCH_DATAGRAMS_MAX
    }

    /// Whether nothing is queued.
    pub fn is_empty(&self) -> bool {
        self.queued.is_empty()
    }

    /// How many datagrams are queued.
    pub fn len(&self) -> usize {
        self.queued.len()
    }

    /// Queues what `write` writes to the buffer it is given: a destination and a length. Returns whether it did; a full
    /// batch takes nothing.
    pub fn push(&mut self, write: impl FnOnce(&mut [u8]) -> Option<(SocketAddr, usize)>) -> bool {
        let written = self.buffers.get_mut(self.queued.len()).and_then(|it| write(it));
        self.queued.extend(written);
        written.is_some()
    }

    /// Forgets what is queued.
    pub fn clear(&mut self) {
        self.queued.clear();
    }

    /// Sends what is queued and empties the batch. Returns how many datagrams the system took; one that it refuses twice
    /// is dropped, and the others are still sent. The first refusal may be about something else: see
    /// [`hear_of_refusals`].
    pub fn send(&mut self, socket: BorrowedFd<'_>) -> usize {
        if self.queued.len() == 1 {
            return self.send_one(socket);
        }
        let mut pieces = [libc::iovec { iov_base: ptr::null_mut(), iov_len: 0 }; UDP_BATCH_DATAGRAMS_MAX];
        // SAFETY: an all-zero `mmsghdr` is valid: null pointers with zero lengths.
        let mut headers: [libc::mmsghdr; UDP_BATCH_DATAGRAMS_MAX] = unsafe { MaybeUninit::zeroed().assume_init() };
        for ((((header, piece), name), buffer), (to, len)) in headers
            .iter_mut()
            .zip(&mut pieces)
            .zip(self.names.iter_mut())
            .zip(self.buffers.iter_mut())
            .zip(&self.queued)
        {
            *piece = libc::iovec { iov_base: buffer.as_mut_ptr().cast(), iov_len: (*len).min(buffer.len()) };
            header.msg_hdr.msg_namelen = write_address(*to, name);
            header.msg_hdr.msg_name = name.as_mut_ptr().cast();
            header.msg_hdr.msg_iov = piece;
            header.msg_hdr.msg_iovlen = 1;
        }
        let mut rest = headers.get_mut(..self.queued.len()).unwrap_or(&mut []);
        let (mut sent, mut is_second) = (0, false);
        while !rest.is_empty() {
            // SAFETY: every header of the queued datagrams points to a name, to one `iovec` and through it to a buffer,
            // all with their true lengths; all of them outlive the call, which only reads them.
            let count = unsafe {
                libc::sendmmsg(
                    socket.as_raw_fd(),
                    rest.as_mut_ptr(),
                    rest.len() as libc::c_uint,
                    libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL,
                )
            };
            // An error that comes again is about the first datagram: leave it out and go on with the others.
            let count = usize::try_from(count).unwrap_or(0);
            let is_refused = count == 0;
            let passed = if is_refused && is_second { 1 } else { count };
            is_second = is_refused && !is_second;
            sent += count;
            rest = rest.get_mut(passed..).unwrap_or(&mut []);
        }
        self.queued.clear();
        sent
    }

    /// As [`SendBatch::send`] of a single datagram, which is cheaper this way.
    fn send_one(&mut self, socket: BorrowedFd<'_>) -> usize {
        let queued = self.queued.pop();
        let (Some((to, len)), Some(buffer), Some(name)) = (queued, self.buffers.first(), self.names.first_mut()) else {
            return 0;
        };
        let name_len = write_address(to, name);
        // A second time, as in `send`.
        let is_sent = (0..2).any(|_| {
            // SAFETY: buffer and name have these lengths and outlive the call, which only reads them.
            let sent = unsafe {
                libc::sendto(
                    socket.as_raw_fd(),
                    buffer.as_ptr().cast(),
                    len.min(buffer.len()),
                    libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL,
                    name.as_ptr().cast(),
                    name_len,
                )
            };
            sent >= 0
        });
        usize::from(is_sent)
    }
}

impl Default for SendBatch {
    fn default() -> Self {
        Self::new()
    }
}

/// Has the system tell of datagrams that came back to this socket as ICMP errors, by [`take_refusal`]. Without that, a
/// socket that is not connected learns nothing of them. Such an error is also what the next call on the socket fails with,
/// whatever that is about.
///
/// # Errors
///
/// What the system says.
pub fn hear_of_refusals(socket: BorrowedFd<'_>, is_ipv6: bool) -> io::Result<()> {
    let (level, name) =
        if is_ipv6 { (libc::IPPROTO_IPV6, libc::IPV6_RECVERR) } else { (libc::IPPROTO_IP, libc::IP_RECVERR) };
    let on: libc::c_int = 1;
    // SAFETY: the value has the length that is given and outlives the call, which only reads it.
    let result = unsafe {
        let len = size_of::<libc::c_int>() as libc::socklen_t;
        libc::setsockopt(socket.as_raw_fd(), level, name, (&raw const on).cast(), len)
    };
    check(result).map(drop)
}

/// Where a datagram was sent that came back; `None` if no more are known of. To be asked when a socket
/// [`Ready::is_failing`].
pub fn take_refusal(socket: BorrowedFd<'_>) -> Option<SocketAddr> {
    let mut name: MaybeUninit<libc::sockaddr_storage> = MaybeUninit::zeroed();
    // SAFETY: an all-zero `msghdr` is valid: null pointers with zero lengths.
    let mut header: libc::msghdr = unsafe { MaybeUninit::zeroed().assume_init() };
    header.msg_name = name.as_mut_ptr().cast();
    header.msg_namelen = size_of::<libc::sockaddr_storage>() as libc::socklen_t;
    // SAFETY: the header points to a name with its true length, which outlives the call, and to nothing else.
    let len = unsafe { libc::recvmsg(socket.as_raw_fd(), &raw mut header, libc::MSG_ERRQUEUE | libc::MSG_DONTWAIT) };
    // SAFETY: zeroed when it was made, it is a valid `sockaddr_storage`; the system may have written an address.
    (len >= 0).then(|| read_address(unsafe { name.assume_init_ref() }))
}

/// A descriptor that was waited for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ready {
    /// As it was added.
    pub token: u64,
    /// Something that was sent from it has come back.
    pub is_failing: bool,
}

/// A set of file descriptors to wait on, each with a token. It tells again and again of what is ready (level-triggered).
#[derive(Debug)]
pub struct Poll {
    epoll: OwnedFd,
    events: Vec<libc::epoll_event>,
}

impl Poll {
    /// An empty set.
    ///
    /// # Errors
    ///
    /// What the system says: too many open files.
    pub fn new() -> io::Result<Self> {
        // SAFETY: the call takes no pointers.
        let fd = check(unsafe { libc::epoll_create1(libc::EPOLL_CLOEXEC) })?;
        // SAFETY: the system has just given us this descriptor, and nobody else has it.
        let epoll = unsafe { OwnedFd::from_raw_fd(fd) };
        Ok(Self { epoll, events: vec![libc::epoll_event { events: 0, u64: 0 }; EPOLL_EVENTS_MAX] })
    }

    /// Adds a descriptor. Closing it takes it out again, unless it has been duplicated.
    ///
    /// # Errors
    ///
    /// What the system says: no memory, or too many watched descriptors.
    pub fn add(&self, fd: BorrowedFd<'_>, token: u64) -> io::Result<()> {
        let mut event = libc::epoll_event { events: libc::EPOLLIN as u32, u64: token };
        // SAFETY: the event outlives the call, which only reads it.
        let result =
            unsafe { libc::epoll_ctl(self.epoll.as_raw_fd(), libc::EPOLL_CTL_ADD, fd.as_raw_fd(), &raw mut event) };
        check(result).map(drop)
    }

    /// Takes a descriptor out.
    ///
    /// # Errors
    ///
    /// What the system says: it was not in the set.
    pub fn remove(&self, fd: BorrowedFd<'_>) -> io::Result<()> {
        // SAFETY: the call reads no event when it removes a descriptor.
        let result =
            unsafe { libc::epoll_ctl(self.epoll.as_raw_fd(), libc::EPOLL_CTL_DEL, fd.as_raw_fd(), ptr::null_mut()) };
        check(result).map(drop)
    }

    /// Waits until a descriptor is ready or `timeout` (rounded up to milliseconds) is over; for ever without one. Returns
    /// what is ready, at most [`EPOLL_EVENTS_MAX`].
    ///
    /// # Errors
    ///
    /// What the system says, except that the call was interrupted.
    pub fn wait(&mut self, timeout: Option<Duration>) -> io::Result<impl Iterator<Item = Ready>> {
        let timeout = timeout.map_or(-1, |it| i32::try_from(it.as_micros().div_ceil(1_000)).unwrap_or(i32::MAX));
        // SAFETY: the system writes at most as many events as it is told there is room for.
        let count = unsafe {
            libc::epoll_wait(
                self.epoll.as_raw_fd(),
                self.events.as_mut_ptr(),
                self.events.len() as libc::c_int,
                timeout,
            )
        };
        let count = match usize::try_from(count) {
            Ok(count) => count,
            Err(_negative) => none_if_idle(io::Error::last_os_error())?,
        };
        let ready = |it: &libc::epoll_event| {
            let flags = it.events;
            Ready { token: it.u64, is_failing: flags & libc::EPOLLERR as u32 != 0 }
        };
        Ok(self.events.iter().take(count).map(ready))
    }
}

/// Wakes a thread that waits in [`Poll::wait`].
#[derive(Debug)]
pub struct Waker {
    event: File,
}

impl Waker {
    /// A waker that has not been used.
    ///
    /// # Errors
    ///
    /// What the system says: too many open files.
    pub fn new() -> io::Result<Self> {
        // SAFETY: the call takes no pointers.
        let fd = check(unsafe { libc::eventfd(0, libc::EFD_CLOEXEC | libc::EFD_NONBLOCK) })?;
        // SAFETY: the system has just given us this descriptor, and nobody else has it.
        let event = unsafe { OwnedFd::from_raw_fd(fd) };
        Ok(Self { event: event.into() })
    }

    /// Makes the descriptor ready. From any thread.
    pub fn wake(&self) {
        // The only failure is a counter that is full, and then the descriptor is ready already.
        drop((&self.event).write(&1_u64.to_ne_bytes()));
    }

    /// Makes it not ready again.
    pub fn clear(&self) {
        // The only failure is that it was not ready.
        drop((&self.event).read(&mut [0; 8]));
    }
}

impl std::os::fd::AsFd for Waker {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.event.as_fd()
    }
}

/// Has the system prefer this thread to others, as packets do not wait.
///
/// # Errors
///
/// What the system says: mostly that this process may not (it takes `CAP_SYS_NICE`).
pub fn prefer_this_thread() -> io::Result<()> {
    // SAFETY: the call takes no pointers. On Linux it is about the calling thread only.
    check(unsafe { libc::setpriority(libc::PRIO_PROCESS, 0, MEDIA_NICE) }).map(drop)
}

/// Raises the number of files and sockets that this process may have open to the most that it may ask for; returns that.
///
/// # Errors
///
/// What the system says.
pub fn allow_open_files() -> io::Result<u64> {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: the limit outlives the call, which writes it.
    check(unsafe { libc::getrlimit(libc::RLIMIT_NOFILE, &raw mut limit) })?;
    limit.rlim_cur = limit.rlim_max;
    // SAFETY: the limit outlives the call, which only reads it.
    check(unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &raw const limit) })?;
    Ok(limit.rlim_cur)
}

fn check(result: libc::c_int) -> io::Result<libc::c_int> {
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(result) }
}

fn none_if_idle(error: io::Error) -> io::Result<usize> {
    match error.raw_os_error() {
        Some(libc::EAGAIN | libc::EINTR) => Ok(0),
        _ => Err(error),
    }
}

/// The unspecified address stands for a family other than IP, which does not occur on UDP sockets.
fn read_address(name: &libc::sockaddr_storage) -> SocketAddr {
    match libc::c_int::from(name.ss_family) {
        libc::AF_INET => {
            // SAFETY: the family says that it is a `sockaddr_in`, for which the storage is large and aligned enough.
            let name = unsafe { &*ptr::from_ref(name).cast::<libc::sockaddr_in>() };
            let ip = Ipv4Addr::from_bits(u32::from_be(name.sin_addr.s_addr));
            SocketAddr::new(ip.into(), u16::from_be(name.sin_port))
        }
        libc::AF_INET6 => {
            // SAFETY: the family says that it is a `sockaddr_in6`, for which the storage is large and aligned enough.
            let name = unsafe { &*ptr::from_ref(name).cast::<libc::sockaddr_in6>() };
            let ip = IpAddr::V6(Ipv6Addr::from(name.sin6_addr.s6_addr)).to_canonical();
            SocketAddr::new(ip, u16::from_be(name.sin6_port))
        }
        _ => SocketAddr::new(Ipv4Addr::UNSPECIFIED.into(), 0),
    }
}

/// Writes the address and returns its length.
fn write_address(address: SocketAddr, name: &mut MaybeUninit<libc::sockaddr_storage>) -> libc::socklen_t {
    match address {
        SocketAddr::V4(address) => {
            let value = libc::sockaddr_in {
                sin_family: libc::AF_INET as libc::sa_family_t,
                sin_port: address.port().to_be(),
                sin_addr: libc::in_addr { s_addr: address.ip().to_bits().to_be() },
                sin_zero: [0; 8],
            };
            // SAFETY: a `sockaddr_storage` is large and aligned enough for a `sockaddr_in`.
            unsafe { name.as_mut_ptr().cast::<libc::sockaddr_in>().write(value) };
            size_of::<libc::sockaddr_in>() as libc::socklen_t
        }
        SocketAddr::V6(address) => {
            let value = libc::sockaddr_in6 {
                sin6_family: libc::AF_INET6 as libc::sa_family_t,
                sin6_port: address.port().to_be(),
                sin6_flowinfo: address.flowinfo(),
                sin6_addr: libc::in6_addr { s6_addr: address.ip().octets() },
                sin6_scope_id: address.scope_id(),
            };
            // SAFETY: a `sockaddr_storage` is large and aligned enough for a `sockaddr_in6`.
            unsafe { name.as_mut_ptr().cast::<libc::sockaddr_in6>().write(value) };
            size_of::<libc::sockaddr_in6>() as libc::socklen_t
        }
    }
}

/// Of media threads; ordinary ones have 0, and less is more.
const MEDIA_NICE: libc::c_int = -11;
const BUFFER_LEN: usize = RTP_DATAGRAM_BYTES_MAX + 1;

#[cfg(test)]
mod tests {
    use std::net::UdpSocket;
    use std::os::fd::AsFd;

    use super::*;

    #[test]
    fn datagrams_travel_in_batches() {
        check_batch("127.0.0.1:0");
        check_batch("[::1]:0");
    }

    #[test]
    fn a_long_datagram_stays_too_long_and_an_empty_one_is_told() {
        let (from, to) = pair("127.0.0.1:0");
        for len in [RTP_DATAGRAM_BYTES_MAX, RTP_DATAGRAM_BYTES_MAX + 1, 9_000, 0] {
            from.send_to(&vec![1; len], to.local_addr().unwrap()).unwrap();
        }
        let mut batch = ReceiveBatch::new();
        assert_eq!(batch.receive(to.as_fd()).unwrap(), 4);
        let lengths: Vec<_> = batch.iter().map(|(_, datagram)| datagram.len()).collect();
        assert_eq!(lengths, [RTP_DATAGRAM_BYTES_MAX, RTP_DATAGRAM_BYTES_MAX + 1, RTP_DATAGRAM_BYTES_MAX + 1, 0]);
    }

    #[test]
    fn a_datagram_that_cannot_be_sent_does_not_stop_the_others() {
        let (from, to) = pair("127.0.0.1:0");
        let good = to.local_addr().unwrap();
        let bad = "[::1]:9".parse().unwrap(); // another family than the socket's
        let mut batch = SendBatch::new();
        for to in [bad, good, bad, good] {
            assert!(batch.push(|_| Some((to, 3))));
        }
        assert_eq!(batch.send(from.as_fd()), 2);
        assert_eq!(batch.send(from.as_fd()), 0);
        assert_eq!(ReceiveBatch::new().receive(to.as_fd()).unwrap(), 2);
    }

    #[test]
    fn as_many_files_may_be_open_as_the_system_grants() {
        let most = allow_open_files().unwrap();
        assert_eq!(allow_open_files().unwrap(), most);
        // Whether a thread is preferred is up to the system.
        std::thread::spawn(|| prefer_this_thread().unwrap_or(())).join().unwrap();
    }

    #[test]
    fn waiting_ends_with_a_datagram_a_wake_up_or_the_time() {
        let (from, to) = pair("127.0.0.1:0");
        let waker = Waker::new().unwrap();
        let mut poll = Poll::new().unwrap();
        poll.add(to.as_fd(), 7).unwrap();
        poll.add(waker.as_fd(), 8).unwrap();
        let limit = Some(Duration::from_secs(5));
        from.send_to(b"x", to.local_addr().unwrap()).unwrap();
        assert_eq!(poll.wait(limit).unwrap().collect::<Vec<_>>(), [Ready { token: 7, is_failing: false }]);
        poll.remove(to.as_fd()).unwrap();
        waker.wake();
        waker.wake();
        assert_eq!(poll.wait(limit).unwrap().map(|it| it.token).collect::<Vec<_>>(), [8]);
        waker.clear();
        waker.clear();
        assert_eq!(poll.wait(Some(Duration::from_micros(1))).unwrap().count(), 0);
    }

    #[test]
    fn what_comes_back_is_told_and_costs_no_other_datagram() {
        for address in ["127.0.0.1:0", "[::1]:0"] {
            let (from, to) = pair(address);
            let open = to.local_addr().unwrap();
            let closed = UdpSocket::bind(address).unwrap().local_addr().unwrap();
            hear_of_refusals(from.as_fd(), open.is_ipv6()).unwrap();
            let mut poll = Poll::new().unwrap();
            poll.add(from.as_fd(), 7).unwrap();
            let mut batch = SendBatch::new();
            for destinations in [vec![closed], vec![open], vec![closed, open, closed, open]] {
                destinations.iter().for_each(|to| assert!(batch.push(|_| Some((*to, 3)))));
                assert_eq!(batch.send(from.as_fd()), destinations.len(), "{destinations:?}");
            }
            for _ in 0..3 {
                let ready: Vec<_> = poll.wait(Some(Duration::from_secs(5))).unwrap().collect();
                assert_eq!(ready, [Ready { token: 7, is_failing: true }]);
                assert_eq!(take_refusal(from.as_fd()), Some(closed));
            }
            assert_eq!(take_refusal(from.as_fd()), None);
            assert_eq!(poll.wait(Some(Duration::from_micros(1))).unwrap().count(), 0);
            let mut received = ReceiveBatch::new();
            assert_eq!(received.receive(to.as_fd()).unwrap(), 3);
            assert_eq!(received.receive(from.as_fd()).unwrap(), 0);
        }
    }

    #[track_caller]
    fn check_batch(address: &str) {
        let (from, to) = pair(address);
        let destination = to.local_addr().unwrap();
        let mut batch = SendBatch::new();
        for number in 0..10_u8 {
            let written = batch.push(|buffer| {
                buffer[..3].copy_from_slice(&[number; 3]);
                Some((destination, 3))
            });
            assert!(written);
        }
        assert_eq!(batch.send(from.as_fd()), 10);
        let mut batch = ReceiveBatch::new();
        assert_eq!(batch.receive(to.as_fd()).unwrap(), 10);
        for (number, (sender, datagram)) in (0..).zip(batch.iter()) {
            assert_eq!((sender, datagram), (from.local_addr().unwrap(), &[number; 3][..]));
        }
        assert_eq!(batch.receive(to.as_fd()).unwrap(), 0);
        assert_eq!(batch.iter().count(), 0);
        for number in 0..2 {
            let mut send = SendBatch::new();
            assert!(send.push(|buffer| {
                buffer[..4].copy_from_slice(&[number; 4]);
                Some((destination, 4))
            }));
            assert_eq!((send.send(from.as_fd()), send.send(from.as_fd())), (1, 0));
        }
        for number in 0..2 {
            assert_eq!(batch.receive_one(to.as_fd()).unwrap(), 1);
            assert_eq!(batch.iter().next(), Some((from.local_addr().unwrap(), &[number; 4][..])));
        }
        assert_eq!((batch.receive_one(to.as_fd()).unwrap(), batch.iter().count()), (0, 0));
    }

    fn pair(address: &str) -> (UdpSocket, UdpSocket) {
        (UdpSocket::bind(address).unwrap(), UdpSocket::bind(address).unwrap())
    }
}
