//! What each of the servers does when it is told to do something wrong. `strike` tells them.

use rethread::{Never, Next};

/// What any of our servers can be told to do wrong, for a show or a test.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum HandlerFault {
    /// To panic.
    Crash,
    /// To wait for something that never comes, where the runtime cannot see it.
    Hang,
}

impl HandlerFault {
    /// Does it, in the name of that process.
    pub(crate) fn execute(self, process_name: &str) -> Next {
        match self {
            HandlerFault::Crash => panic!("{process_name}: injected crash"),
            HandlerFault::Hang => {
                let (_sender, receiver) = std::sync::mpsc::channel::<Never>();
                let _ = receiver.recv();
                Next::wait()
            }
        }
    }
}
