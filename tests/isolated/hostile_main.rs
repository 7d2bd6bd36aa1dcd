//! The end of a program on its `main` thread: thread-locals of that thread that query the runtime when they
//! are dropped, after `main` has returned. Without the test harness, which has a `main` of its own.

use std::io::Write;
use std::process::Command;
use std::time::Duration;

use rethread::agent::{Agent, AgentRef};
use rethread::prelude::*;

const MARK: &str = "RETHREAD_TEST_MAIN";

/// Queries the runtime when it is dropped, and prints the results.
struct Asks(AgentRef<u32>);

impl Drop for Asks {
    fn drop(&mut self) {
        let (me, got) = (process::current(), self.0.get(|n| *n));
        let joined = task::spawn(|| 7).map(|task| task.join());
        let exit_reason = process::spawn_receiver::<()>(|inbox| drop(inbox.recv())).map(|child| {
            process::exit(&child, "requested");
            process::watch(&child).wait_timeout(Duration::from_secs(30)).is_some()
        });
        let _ = process::send_after(Duration::from_secs(3600), process::Name::new("unregistered"), ());
        let attached = process::attach(|| 1).is_err(); // the thread-local for the identity is gone
        let stopped = self.0.stop();
        let _ =
            writeln!(std::io::stdout(), "{me:?} {got:?} {joined:?} {exit_reason:?} {attached} {stopped:?}");
    }
}

thread_local!(static ASKS: std::cell::RefCell<Option<Asks>> = const { std::cell::RefCell::new(None) });

fn program() {
    // Initialised before the runtime's thread-locals on this thread, so that it is dropped after those.
    ASKS.with(|asks| asks.borrow().is_none());
    let agent = Agent::start(|| 5).expect("a free thread");
    process::attach(|| process::spawn_receiver_link::<()>(|inbox| drop(inbox.recv())).map(drop))
        .expect("it returns")
        .expect("a free thread");
    ASKS.set(Some(Asks(agent)));
}

fn main() {
    if std::env::var_os(MARK).is_some() {
        return program();
    }
    let this = std::env::current_exe().expect("the program has a path");
    let output = Command::new(this).env(MARK, "1").output().expect("it can be run again");
    assert!(output.status.success(), "{output:?}");
    let said = String::from_utf8_lossy(&output.stdout);
    // Not every system drops the thread-locals of the main thread.
    let expected = "None Ok(5) Ok(Ok(7)) Ok(true) true Ok(())\n";
    assert!(said == expected || !cfg!(target_os = "linux") && said.is_empty(), "{said}");
    let _ =
        writeln!(std::io::stdout(), "thread-locals of the main thread may ask the runtime at the end: ok");
}
