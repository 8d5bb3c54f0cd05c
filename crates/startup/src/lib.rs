//! What is known of the process only before `main`: whether stdout was closed.
//!
//! Rust's runtime opens `/dev/null` in the place of a standard stream that is closed, so that no file ends up under its
//! number. From then on what is written to a closed stdout is lost and looks delivered. Nothing tells that `/dev/null`
//! from one that the caller chose: Python's `DEVNULL` and Node's `"ignore"` open theirs for reading and writing too, as
//! the runtime does, and there the caller wants the data to be lost. So this looks before the runtime does, as a function
//! that the loader calls.

use std::sync::atomic::{AtomicBool, Ordering};

static WAS_CLOSED: AtomicBool = AtomicBool::new(false);

/// Whether the process was started with its stdout closed (`>&-`).
pub fn stdout_was_closed() -> bool {
    WAS_CLOSED.load(Ordering::Relaxed)
}

/// Asks for a flag of the descriptor, which only a closed one refuses. One system call: nothing of Rust's runtime is set up
/// yet.
extern "C" fn look() {
    let is_closed = rustix::io::fcntl_getfd(rustix::stdio::stdout()) == Err(rustix::io::Errno::BADF);
    WAS_CLOSED.store(is_closed, Ordering::Relaxed);
}

#[used]
#[expect(unsafe_code, reason = "the only way to be called before the runtime; the function is safe")]
#[cfg_attr(target_vendor = "apple", unsafe(link_section = "__DATA,__mod_init_func"))]
#[cfg_attr(not(target_vendor = "apple"), unsafe(link_section = ".init_array"))]
static LOOK: extern "C" fn() = look;
