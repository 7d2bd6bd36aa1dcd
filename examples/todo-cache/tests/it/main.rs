//! The tests of todo-cache from inside: values and files, HTTP as bytes, and the processes.

#[allow(dead_code, reason = "the shell uses more of it than these tests do")]
#[path = "../../command.rs"]
mod command;
#[allow(dead_code, reason = "the program uses more of it than these tests do")]
#[path = "../../net.rs"]
mod net;
#[path = "../../screen.rs"]
mod screen;
#[path = "../../../../tests/support/mod.rs"]
mod support;
#[allow(dead_code, reason = "the program uses more of it than these tests do")]
#[path = "../../text.rs"]
mod text;
#[allow(dead_code, reason = "the program uses more of it than these tests do")]
#[path = "../../todo/mod.rs"]
mod todo;

mod agent;
mod http;
mod http_table;
mod peers;
mod round_trips;
mod shapes;
mod store;
mod system;

/// Locked by each test that starts a system: its processes have fixed names, so there is one at a time.
static ALONE: parking_lot::Mutex<()> = parking_lot::Mutex::new(());
