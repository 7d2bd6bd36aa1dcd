//! What each of the servers does when it is told to do something wrong. `strike` tells them.

use rethread::{Never, Next};

/// What any of our servers can be told to do wrong, for a show or a test.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Misdeed {
    /// To panic.
    Crash,
    /// To wait for something that never comes, where the runtime cannot see it.
    Hang,
}

impl Misdeed {
    /// Does it, in the name of that process.
    pub(crate) fn commit(self, who: &str) -> Next {
        match self {
            Misdeed::Crash => panic!("{who} was told to crash"),
            Misdeed::Hang => {
                let (_never, forever) = std::sync::mpsc::channel::<Never>();
                let _ = forever.recv();
                Next::wait()
            }
        }
    }
}
