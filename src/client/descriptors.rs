//! File descriptors: recognises that the process or the system has no more.

use std::{error::Error as StdError, io, net::UdpSocket};

use super::error::ClientError;

/// Returns true if an attempt failed because there are no more file descriptors.
///
/// A resolver's error does not say so, therefore this tries to get one.
pub(super) fn are_used_up(error: &ClientError) -> bool {
    let mut cause: Option<&(dyn StdError + 'static)> = Some(error);
    while let Some(error) = cause {
        if error.downcast_ref().is_some_and(is_too_many) {
            return true;
        }
        cause = error.source();
    }
    error.is_connect() && UdpSocket::bind("127.0.0.1:0").is_err_and(|error| is_too_many(&error))
}

fn is_too_many(error: &io::Error) -> bool {
    // The standard library has no kind for them.
    let [process, system] = match cfg!(windows) {
        // WSAEMFILE, ERROR_TOO_MANY_OPEN_FILES
        true => [10024, 4],
        // EMFILE, ENFILE
        false => [24, 23],
    };
    error
        .raw_os_error()
        .is_some_and(|code| code == process || code == system)
}
