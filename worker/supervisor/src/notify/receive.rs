//! One datagram with what came beside it. nix does not give out what came beside a datagram that
//! the kernel had to cut, as when this process may open no more files; the descriptors that were
//! installed by then would stay open for ever.

#![expect(unsafe_code, reason = "recvmsg and its control messages; each use says why it is sound")]

use std::io;
use std::os::fd::{AsRawFd, OwnedFd};

/// Most descriptors that the kernel lets one datagram carry (`SCM_MAX_FD`). With room for fewer
/// the others would be closed by the kernel just as well, but this is not promised.
const DESCRIPTORS_MAX: usize = 253;
/// Room for them and the sender's credentials with a header each, and something that was not asked
/// for; in pieces of the alignment that headers have.
const CONTROL_PIECES: usize = DESCRIPTORS_MAX * size_of::<libc::c_int>() / size_of::<usize>() + 32;

/// Receives one datagram without waiting: how many bytes it has, and the user who sent it. All
/// descriptors that came with it are closed: `BARRIER=1` waits for that, and nothing else that is
/// sent is kept.
///
/// # Errors
/// When there is none.
pub(super) fn receive(socket: &OwnedFd, bytes: &mut [u8]) -> io::Result<(usize, Option<u32>)> {
    let mut control = [0_usize; CONTROL_PIECES];
    let mut part = libc::iovec { iov_base: bytes.as_mut_ptr().cast(), iov_len: bytes.len() };
    let mut by = None;
    // SAFETY: all-zero is a header of a message without anything. It is given the buffers above,
    // with their lengths, and they outlive it. The kernel writes whole control messages into the
    // second, or cuts the last and says how long it is, and the macros of cmsg(3) stay within that;
    // what is read of a message is as long as its own length says, and may be unaligned. The
    // descriptors were made for this process by this call, and nobody else knows them.
    unsafe {
        let mut message: libc::msghdr = std::mem::zeroed();
        message.msg_iov = &raw mut part;
        message.msg_iovlen = 1;
        message.msg_control = control.as_mut_ptr().cast();
        message.msg_controllen = size_of_val(&control);
        let flags = libc::MSG_DONTWAIT | libc::MSG_CMSG_CLOEXEC;
        let count = libc::recvmsg(socket.as_raw_fd(), &raw mut message, flags);
        let count = usize::try_from(count).map_err(|_| io::Error::last_os_error())?;
        let mut next = libc::CMSG_FIRSTHDR(&raw const message);
        while let Some(header) = next.as_ref() {
            let data = libc::CMSG_DATA(next);
            let length = header.cmsg_len.saturating_sub(data.offset_from_unsigned(next.cast()));
            match (header.cmsg_level, header.cmsg_type) {
                (libc::SOL_SOCKET, libc::SCM_CREDENTIALS) if length >= size_of::<libc::ucred>() => {
                    by = Some(data.cast::<libc::ucred>().read_unaligned().uid);
                }
                (libc::SOL_SOCKET, libc::SCM_RIGHTS) => {
                    let bytes = std::slice::from_raw_parts(data, length);
                    for number in bytes.chunks_exact(size_of::<libc::c_int>()) {
                        if let Ok(number) = number.try_into() {
                            libc::close(libc::c_int::from_ne_bytes(number));
                        }
                    }
                }
                _ => {}
            }
            next = libc::CMSG_NXTHDR(&raw const message, next);
        }
        Ok((count, by))
    }
}
