//! The web server: an acceptor, and one process for each connection, which a crash in a handler ends and nothing else.
//! What is asked and answered is in `routes`, the protocol in `http`.

use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::time::{Duration, Instant};

use rethread::prelude::*;

use super::http::{self, Parsed, Response};
use super::metrics;
use super::routes::{self, Answer, Options};
use super::view;

/// The supervisor of the connections.
pub(crate) const CONNECTIONS: ServerRef<TaskSupervisor> = ServerRef::named("web.connections");

/// How many connections there may be at once.
const MOST_CONNECTIONS: usize = 128;
/// How long a connection may be silent, in the middle of a request or between two.
const SILENCE: Duration = Duration::from_secs(5);
/// How long one request may take to arrive.
const ARRIVAL: Duration = Duration::from_secs(10);
/// How long a client may take to read what it asked for.
const READING: Duration = Duration::from_secs(5);
/// How often the tree is sent, if something has changed; if nothing has, once in so many times.
const FRAME: Duration = Duration::from_millis(250);
const QUIET_FRAMES: u32 = 8;

/// The web server as a part of the system: the acceptor goes when the supervisor of the connections does.
pub(crate) fn supervisor(listener: &Arc<TcpListener>, options: &Arc<Options>) -> SupervisorSpec {
    let (listener, options) = (Arc::clone(listener), Arc::clone(options));
    Supervisor::rest_for_one()
        .name(ServerRef::named("web"))
        .child(TaskSupervisor::new().max_children(MOST_CONNECTIONS).name(CONNECTIONS))
        .child(ChildSpec::worker("web.acceptor", move || accept(&listener, &options)))
}

/// Takes connections in, one after the other. It blocks in the system, so whoever ends it knocks once more.
fn accept(listener: &TcpListener, options: &Arc<Options>) {
    let address = listener.local_addr();
    let _hook = process::on_exit_request(move || drop(address.map(knock)));
    loop {
        let accepted = listener.accept();
        process::checkpoint();
        match accepted {
            Ok((stream, _)) => welcome(stream, options),
            // No file handle is left, or the client has gone already: neither is the acceptor's fault.
            Err(error) => {
                log::warn!("a connection could not be accepted: {error}");
                process::sleep(Duration::from_millis(50));
            }
        }
    }
}

/// A connection that says nothing.
fn knock(address: SocketAddr) {
    let _ = TcpStream::connect_timeout(&address, Duration::from_millis(200));
}

/// Gives a connection a process of its own.
fn welcome(stream: TcpStream, options: &Arc<Options>) {
    let Ok(spare) = stream.try_clone() else { return };
    let options = Arc::clone(options);
    let task = CONNECTIONS.builder().label("web.connection");
    let Err(error) = task.start_child(move || drop(converse(stream, &options))) else { return };
    let sorry = match error {
        StartError::MaxChildren { .. } => "there are too many connections, come back later",
        _ => "no connection can be served at the moment, come back later",
    };
    let _ = spare.set_write_timeout(Some(Duration::from_millis(100)));
    let _ = (&spare).write_all(&Response::text(503, sorry).bytes(false));
}

/// Answers what comes over one connection, in order.
fn converse(stream: TcpStream, options: &Options) -> io::Result<()> {
    stream.set_read_timeout(Some(SILENCE))?;
    stream.set_nodelay(true)?;
    let handle = stream.try_clone()?;
    let _hook = process::on_exit_request(move || drop(handle.shutdown(Shutdown::Both)));
    let mut stream = &stream;
    let mut bytes = Vec::new();
    loop {
        let request = match next_request(&mut stream, &mut bytes) {
            Ok(Some(Ok(request))) => request,
            Ok(Some(Err(refusal))) => return refuse(stream, &refusal),
            Ok(None) => return Ok(()),
            Err(error) => return Err(error),
        };
        let answer = routes::answer(&request, options);
        metrics::count_request();
        match answer {
            Answer::Whole(response) => {
                let mut answer = response.bytes(request.keeps_alive);
                if request.method == "HEAD" {
                    // A body would be taken for the next answer.
                    answer.truncate(answer.len() - response.body.len());
                }
                send(stream, &answer)?;
            }
            Answer::Events => return stream_events(stream, options),
        }
        if !request.keeps_alive {
            return Ok(());
        }
    }
}

/// The next request; `None` if the client has gone, or says nothing more. `bytes` keeps what came after it.
fn next_request(
    stream: &mut impl Read,
    bytes: &mut Vec<u8>,
) -> io::Result<Option<Result<http::Request, Response>>> {
    let began = Instant::now();
    loop {
        match http::parse(bytes) {
            Ok(Parsed::Complete(request, used)) => {
                bytes.drain(..used);
                return Ok(Some(Ok(request)));
            }
            Ok(Parsed::Incomplete) => {}
            Err(bad) => return Ok(Some(Err(bad.response()))),
        }
        let late = || Response::text(408, "the request did not arrive in time");
        if began.elapsed() > ARRIVAL {
            return Ok(Some(Err(late())));
        }
        let mut buffer = [0; 4096];
        match stream.read(&mut buffer) {
            Ok(0) => return Ok(None),
            Ok(read) => bytes.extend_from_slice(&buffer[..read]),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut) => {
                return Ok(if bytes.is_empty() { None } else { Some(Err(late())) });
            }
            Err(error) => return Err(error),
        }
        process::checkpoint();
    }
}

/// Writes all of it to a client that reads it within [`READING`]. (The time limit of a socket is for one write, of which
/// there may be any number if the client reads a little now and then.)
fn send(mut stream: &TcpStream, mut bytes: &[u8]) -> io::Result<()> {
    let until = Instant::now() + READING;
    while !bytes.is_empty() {
        let left = until.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(io::ErrorKind::TimedOut.into());
        }
        stream.set_write_timeout(Some(left))?;
        match stream.write(bytes) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(sent) => bytes = &bytes[sent..],
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// Says what is wrong and hangs up, so that the client gets to read it although it may still be sending.
fn refuse(mut stream: &TcpStream, refusal: &Response) -> io::Result<()> {
    metrics::count_request();
    send(stream, &refusal.bytes(false))?;
    stream.shutdown(Shutdown::Write)?;
    stream.set_read_timeout(Some(Duration::from_millis(200)))?;
    let mut rest = [0; 4096];
    let until = Instant::now() + SILENCE;
    while Instant::now() < until && stream.read(&mut rest).is_ok_and(|read| read > 0) {}
    Ok(())
}

/// Sends the tree and the news for as long as the client listens.
fn stream_events(stream: &TcpStream, options: &Options) -> io::Result<()> {
    send(stream, (http::head(200, "text/event-stream") + "connection: close\r\n\r\n").as_bytes())?;
    let mut events = rethread::observer::events();
    let mut last = String::new();
    let mut quiet = 0;
    let mut frame_ends = Instant::now(); // the first tree at once
    loop {
        let mut news = String::new();
        while let Some(event) = events.recv_timeout(frame_ends.saturating_duration_since(Instant::now())) {
            news.push_str(&format!("event: life\ndata: {}\n\n", view::life(&event)));
        }
        let mut tree = options.tree();
        let shown = tree.to_string();
        // What changes all by itself is no reason to send it.
        for changing in ["at", "uptime"] {
            tree[changing] = serde_json::Value::Null;
        }
        let now = tree.to_string();
        quiet += 1;
        if now != last || quiet >= QUIET_FRAMES {
            news.push_str(&format!("event: tree\ndata: {shown}\n\n"));
            last = now;
            quiet = 0;
        }
        send(stream, news.as_bytes())?;
        frame_ends = Instant::now() + FRAME;
    }
}
