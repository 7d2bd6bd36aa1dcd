//! An HTTP client for `serve`, over a persistent connection. `load` and `watch` use it.
//!
//! What the server sends is data of any kind: each response and event must arrive in time and has a maximum length.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::time::{Duration, Instant};

use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};

/// How long a server may take for one response, or until the next event.
const IO_TIMEOUT: Duration = Duration::from_secs(15);
/// The maximum length of a response body, in bytes. More than any response of `serve` has.
const MAX_BODY_LEN: usize = 64 << 20;
/// The maximum length of an event, in bytes. A tree of 2000 lists has less than one MiB.
pub(crate) const MAX_EVENT_LEN: usize = 16 << 20;
/// The maximum length of a line before a body, in bytes, and the maximum number of these lines.
const MAX_LINE_LEN: usize = 8 << 10;
const MAX_HEADERS: usize = 100;

/// Returns the host and port of a server, such as `127.0.0.1:5454`, from a URL such as
/// `http://127.0.0.1:5454/`.
pub(crate) fn authority(url: &str) -> Result<String, String> {
    let rest = url.strip_prefix("http://").unwrap_or(url);
    let authority = rest.trim_end_matches('/');
    let (host, port) = authority.rsplit_once(':').unwrap_or((authority, "80"));
    if host.is_empty() || authority.contains('/') || port.parse::<u16>().is_err() {
        return Err(format!("expected an address such as http://127.0.0.1:5454, not {url:?}"));
    }
    Ok(format!("{host}:{port}"))
}

/// A response.
#[derive(Debug, Clone)]
pub(crate) struct Reply {
    pub(crate) status: u16,
    pub(crate) body: String,
    /// Whether the server closes the connection after this response.
    pub(crate) closes: bool,
}

/// The status and the headers of a response.
struct Head {
    status: u16,
    /// The length of the body, if it is given.
    length: Option<usize>,
    closes: bool,
}

/// A connection to a server.
#[derive(Debug)]
pub(crate) struct Connection {
    authority: String,
    stream: BufReader<TimedStream>,
}

/// A socket that can be read until a certain time. (The timeout of a socket applies to each single read, and a server that
/// sends a byte now and then would never exceed it.)
#[derive(Debug)]
struct TimedStream {
    socket: TcpStream,
    deadline: Instant,
}

impl Read for TimedStream {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let late =
            || io::Error::new(io::ErrorKind::TimedOut, format!("no complete response within {IO_TIMEOUT:?}"));
        let remaining = self.deadline.saturating_duration_since(Instant::now());
        if remaining.is_zero() {
            return Err(late());
        }
        self.socket.set_read_timeout(Some(remaining))?;
        self.socket.read(buffer).map_err(|error| match error.kind() {
            io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => late(),
            _ => error,
        })
    }
}

impl Connection {
    pub(crate) fn open(authority: &str) -> io::Result<Self> {
        let mut result = Err(io::Error::new(io::ErrorKind::NotFound, "the host has no address"));
        for address in authority.to_socket_addrs()? {
            result = TcpStream::connect_timeout(&address, IO_TIMEOUT);
            if result.is_ok() {
                break;
            }
        }
        let socket = result?;
        socket.set_nodelay(true)?;
        socket.set_write_timeout(Some(IO_TIMEOUT))?;
        let stream = TimedStream { socket, deadline: Instant::now() };
        Ok(Self { authority: authority.to_owned(), stream: BufReader::new(stream) })
    }

    /// Sends a request and reads the response. The connection cannot be used any more after an error, and after a response
    /// that [closes](Reply::closes) it.
    pub(crate) fn request(&mut self, method: &str, path: &str, query: &[(&str, &str)]) -> io::Result<Reply> {
        let Head { status, length, closes } = self.exchange(method, path, query)?;
        let length = length.ok_or_else(|| malformed("the length of the response is missing"))?;
        if length > MAX_BODY_LEN {
            return Err(malformed("the response is longer than 64 MiB"));
        }
        // Memory is allocated for what has arrived, not for what is announced.
        let mut body = Vec::new();
        if self.stream.by_ref().take(length as u64).read_to_end(&mut body)? < length {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let body = String::from_utf8(body).map_err(|_| malformed("the response is not UTF-8 text"))?;
        Ok(Reply { status, body, closes })
    }

    /// Subscribes to the events of the server; [`next_event`](Self::next_event) reads them.
    pub(crate) fn subscribe(&mut self) -> io::Result<()> {
        match self.exchange("GET", "/events", &[])?.status {
            200 => Ok(()),
            503 => Err(io::Error::other("the server is busy: its status is 503")),
            status => Err(malformed(&format!("the status of its events is {status}"))),
        }
    }

    /// Reads the next event: its kind and its data.
    pub(crate) fn next_event(&mut self) -> io::Result<(String, String)> {
        const TOO_LONG: &str = "an event is longer than 16 MiB";
        self.stream.get_mut().deadline = Instant::now() + IO_TIMEOUT;
        let (mut kind, mut data) = (String::new(), String::new());
        let mut remaining = MAX_EVENT_LEN;
        loop {
            // An empty line has a length too.
            let line = match remaining {
                0 => return Err(malformed(TOO_LONG)),
                _ => self.line(remaining, TOO_LONG)?,
            };
            remaining = remaining.saturating_sub(line.len() + 1);
            let (field, value) = line.split_once(':').unwrap_or((&line, ""));
            let value = value.strip_prefix(' ').unwrap_or(value);
            match field {
                "event" => kind = value.to_owned(),
                "data" => data.push_str(value),
                "" if line.is_empty() && !data.is_empty() => return Ok((kind, data)),
                _ => {}
            }
        }
    }

    /// Sends a request and reads the head of the response.
    fn exchange(&mut self, method: &str, path: &str, query: &[(&str, &str)]) -> io::Result<Head> {
        self.stream.get_mut().deadline = Instant::now() + IO_TIMEOUT;
        // A server that refuses a connection responds before it has read a request, which then may fail.
        let sent = self.send(method, path, query);
        self.head().map_err(|error| sent.err().unwrap_or(error))
    }

    fn send(&mut self, method: &str, path: &str, query: &[(&str, &str)]) -> io::Result<()> {
        let encoded = |text| utf8_percent_encode(text, NON_ALPHANUMERIC).to_string();
        let pairs: Vec<String> =
            query.iter().map(|(key, value)| format!("{key}={}", encoded(value))).collect();
        let mark = if pairs.is_empty() { "" } else { "?" };
        let request = format!(
            "{method} {path}{mark}{} HTTP/1.1\r\nhost: {}\r\nx-todo: 1\r\n\r\n",
            pairs.join("&"),
            self.authority
        );
        self.stream.get_mut().socket.write_all(request.as_bytes())
    }

    /// Reads the head of a response. Interim responses before it are skipped.
    fn head(&mut self) -> io::Result<Head> {
        for _ in 0..MAX_HEADERS {
            let head = self.one_head()?;
            if !(100..200).contains(&head.status) {
                return Ok(head);
            }
        }
        Err(malformed("there are too many interim responses"))
    }

    fn one_head(&mut self) -> io::Result<Head> {
        const TOO_LONG: &str = "a header is longer than 8 KiB";
        let first = self.line(MAX_LINE_LEN, TOO_LONG)?;
        let status = first.strip_prefix("HTTP/1.").and_then(|rest| rest.split(' ').nth(1));
        let status = status.filter(|status| status.len() == 3).and_then(|status| status.parse().ok());
        let status = status.ok_or_else(|| malformed("the response is not HTTP/1.1"))?;
        let mut head = Head { status, length: None, closes: first.starts_with("HTTP/1.0") };
        for _ in 0..MAX_HEADERS {
            let line = self.line(MAX_LINE_LEN, TOO_LONG)?;
            if line.is_empty() {
                return Ok(head);
            }
            let Some((name, value)) = line.split_once(':') else { continue };
            match name.to_ascii_lowercase().as_str() {
                "content-length" => head.length = value.trim().parse().ok(),
                "connection" => {
                    head.closes |= value.split(',').any(|word| word.trim().eq_ignore_ascii_case("close"));
                }
                _ => {}
            }
        }
        Err(malformed("the response has too many headers"))
    }

    /// Reads a line of at most `max_len` bytes.
    fn line(&mut self, max_len: usize, too_long: &str) -> io::Result<String> {
        let mut line = Vec::new();
        self.stream.by_ref().take(max_len as u64 + 1).read_until(b'\n', &mut line)?;
        match line.pop() {
            Some(b'\n') => {}
            Some(_) if line.len() >= max_len => return Err(malformed(too_long)),
            _ => return Err(io::ErrorKind::UnexpectedEof.into()),
        }
        if line.ends_with(b"\r") {
            line.pop();
        }
        String::from_utf8(line).map_err(|_| malformed("the response is not UTF-8 text"))
    }
}

fn malformed(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("not a todo-cache server: {what}"))
}
