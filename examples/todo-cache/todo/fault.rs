//! The faults that a server can execute in one of its handlers, for fault injection. `inject` sends them.

use rethread::gen_server::Next;
use std::convert::Infallible;

/// A fault in a handler, for a demonstration or a test.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum HandlerFault {
    /// Panics.
    Crash,
    /// Blocks forever in a call that is not one of the runtime, so that no exit signal ends it.
    Hang,
}

impl HandlerFault {
    /// Executes the fault. `process_name` is used in the panic message.
    pub(crate) fn execute(self, process_name: &str) -> Next {
        match self {
            HandlerFault::Crash => panic!("{process_name}: injected crash"),
            HandlerFault::Hang => {
                // The sender is kept, so that the receiver is not disconnected.
                let (_sender, receiver) = std::sync::mpsc::channel::<Infallible>();
                let _ = receiver.recv();
                Next::wait()
            }
        }
    }
}
