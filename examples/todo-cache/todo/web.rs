//! The web server: an acceptor, and one process for each connection, so that a crash in a handler affects
//! only that connection. The routes are in `routes`, the protocol is in `http`.

use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::time::{Duration, Instant};

use rethread::StartError;
use rethread::prelude::*;
use rethread::supervisor::SupervisorSpec;
use rethread::task::{TaskSupervisor, TaskSupervisorRef};

use super::http::{self, Parsed, Response};
use super::metrics;
use super::routes::{self, Answer, Options};
use super::view;

/// The supervisor of the connections.
pub(crate) const CONNECTIONS: TaskSupervisorRef = TaskSupervisorRef::named("web.connections");

/// The maximum number of open connections.
const MAX_CONNECTIONS: usize = 128;
/// How long a connection may be idle, within a request or between two.
const IDLE_TIMEOUT: Duration = Duration::from_secs(5);
/// How long one request may take to arrive.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(10);
/// How long a client may take to read a response.
pub(crate) const WRITE_TIMEOUT: Duration = Duration::from_secs(5);
/// The interval at which the tree is sent if it has changed. Without changes it is sent every 8th time.
const TREE_INTERVAL: Duration = Duration::from_millis(250);
const MAX_SKIPPED_FRAMES: u32 = 8;

/// Returns the supervisor of the web server. The acceptor is restarted together with the supervisor of the
/// connections.
pub(crate) fn supervisor(listener: &Arc<TcpListener>, options: Options) -> SupervisorSpec {
    let listener = Arc::clone(listener);
    Supervisor::rest_for_one()
        .name(SupervisorRef::named("web"))
        .child(TaskSupervisor::child_spec().max_children(MAX_CONNECTIONS).name(CONNECTIONS))
        .child(ChildSpec::worker("web.acceptor", move || accept(&listener, options)))
}

/// Accepts connections in a loop. `accept` blocks in the operating system, where no exit signal is received;
/// so an exit request opens a connection, which wakes it.
fn accept(listener: &TcpListener, options: Options) {
    let address = listener.local_addr();
    let _hook = process::on_exit_request(move || drop(address.map(wake_acceptor)));
    loop {
        let accepted = listener.accept();
        process::checkpoint();
        match accepted {
            Ok((stream, _)) => on_connection(stream, options),
            // Out of file descriptors, or the client has disconnected already: not a reason to crash.
            Err(error) => {
                log::warn!("failed to accept a connection: {error}");
                process::sleep(Duration::from_millis(50));
            }
        }
    }
}

/// Opens a connection and closes it.
fn wake_acceptor(address: SocketAddr) {
    let _ = TcpStream::connect_timeout(&address, Duration::from_millis(200));
}

/// Starts a process for a connection.
fn on_connection(stream: TcpStream, options: Options) {
    let Ok(error_stream) = stream.try_clone() else { return };
    let task = CONNECTIONS.builder().label("web.connection");
    let Err(error) = task.start_child(move || drop(serve_connection(stream, &options))) else { return };
    let message = match error {
        StartError::MaxChildren { .. } => "too many connections, try again later",
        _ => "the connection cannot be served at the moment, try again later",
    };
    let _ = error_stream.set_write_timeout(Some(Duration::from_millis(100)));
    let _ = (&error_stream).write_all(&Response::text(503, message).bytes(false));
}

/// Serves the requests of one connection, in order.
fn serve_connection(stream: TcpStream, options: &Options) -> io::Result<()> {
    stream.set_read_timeout(Some(IDLE_TIMEOUT))?;
    stream.set_nodelay(true)?;
    // An exit request closes the socket, which ends a blocking read or write.
    let handle = stream.try_clone()?;
    let _hook = process::on_exit_request(move || drop(handle.shutdown(Shutdown::Both)));
    let stream = &stream;
    let mut bytes = Vec::new();
    loop {
        let request = match next_request(stream, &mut bytes) {
            Ok(Some(Ok(request))) => request,
            Ok(Some(Err(refusal))) => return reject(stream, &refusal),
            Ok(None) => return Ok(()),
            Err(error) => return Err(error),
        };
        let answer = routes::answer(&request, options);
        metrics::count_request();
        match answer {
            Answer::Whole(response) => {
                let mut answer = response.bytes(request.keep_alive);
                if request.method == "HEAD" {
                    // The client would parse a body as the next response.
                    answer.truncate(answer.len() - response.body.len());
                }
                send(stream, &answer)?;
            }
            Answer::Events => return stream_events(stream, options, request.method == "HEAD"),
        }
        if !request.keep_alive {
            return close(stream);
        }
    }
}

/// Reads the next request; `None` if the client has closed the connection or is idle. `bytes` keeps the data
/// behind it.
fn next_request(
    mut stream: &TcpStream,
    bytes: &mut Vec<u8>,
) -> io::Result<Option<Result<http::Request, Response>>> {
    let began = Instant::now();
    let mut has_continued = false;
    loop {
        match http::parse(bytes) {
            Ok(Parsed::Complete(request, used)) => {
                bytes.drain(..used);
                return Ok(Some(Ok(request)));
            }
            Ok(Parsed::AwaitsContinue) if !has_continued => {
                send(stream, http::CONTINUE)?;
                has_continued = true;
            }
            Ok(Parsed::Incomplete | Parsed::AwaitsContinue) => {}
            Err(error) => return Ok(Some(Err(error.response()))),
        }
        let timed_out = || Response::text(408, "the request did not arrive in time");
        if began.elapsed() > REQUEST_TIMEOUT {
            return Ok(Some(Err(timed_out())));
        }
        let mut buffer = [0; 4096];
        match stream.read(&mut buffer) {
            Ok(0) => return Ok(None),
            Ok(read) => bytes.extend_from_slice(&buffer[..read]),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut) => {
                return Ok(if bytes.is_empty() { None } else { Some(Err(timed_out())) });
            }
            Err(error) => return Err(error),
        }
        process::checkpoint();
    }
}

/// Writes all bytes within [`WRITE_TIMEOUT`]. (The timeout of a socket applies to each single write, and a
/// client that reads slowly can cause any number of these.)
fn send(mut stream: &TcpStream, mut bytes: &[u8]) -> io::Result<()> {
    let deadline = Instant::now() + WRITE_TIMEOUT;
    while !bytes.is_empty() {
        let remaining = deadline.saturating_duration_since(Instant::now());
        if remaining.is_zero() {
            return Err(io::ErrorKind::TimedOut.into());
        }
        stream.set_write_timeout(Some(remaining))?;
        match stream.write(bytes) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(sent) => bytes = &bytes[sent..],
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// Sends an error response and closes the connection.
fn reject(stream: &TcpStream, response: &Response) -> io::Result<()> {
    metrics::count_request();
    send(stream, &response.bytes(false))?;
    close(stream)
}

/// Closes a connection after the last response. First it reads what the client is still sending: closing a socket with
/// unread data would discard the response (RFC 9112, section 9.6).
fn close(mut stream: &TcpStream) -> io::Result<()> {
    stream.shutdown(Shutdown::Write)?;
    stream.set_read_timeout(Some(Duration::from_millis(200)))?;
    let mut rest = [0; 4096];
    let deadline = Instant::now() + IDLE_TIMEOUT;
    while Instant::now() < deadline && stream.read(&mut rest).is_ok_and(|read| read > 0) {}
    Ok(())
}

/// Sends the tree and the process events until the client disconnects; for a HEAD request, nothing after the headers.
fn stream_events(stream: &TcpStream, options: &Options, is_head: bool) -> io::Result<()> {
    send(stream, (http::head(200, "text/event-stream") + "connection: close\r\n\r\n").as_bytes())?;
    if is_head {
        return close(stream);
    }
    let mut events = rethread::observer::events();
    let mut last = String::new();
    let mut skipped_frames = 0;
    let mut next_frame = Instant::now(); // the first tree at once
    loop {
        // Collect the events until the next frame is due.
        let mut output = String::new();
        while let Some(event) = events.recv_timeout(next_frame.saturating_duration_since(Instant::now())) {
            output.push_str(&format!("event: process\ndata: {}\n\n", view::event_json(&event)));
        }
        let mut tree = options.tree();
        let shown = tree.to_string();
        // Fields that change constantly do not count as a change.
        for changing in ["at", "uptime"] {
            tree[changing] = serde_json::Value::Null;
        }
        let now = tree.to_string();
        skipped_frames += 1;
        if now != last || skipped_frames >= MAX_SKIPPED_FRAMES {
            output.push_str(&format!("event: tree\ndata: {shown}\n\n"));
            last = now;
            skipped_frames = 0;
        }
        send(stream, output.as_bytes())?;
        next_frame = Instant::now() + TREE_INTERVAL;
    }
}
