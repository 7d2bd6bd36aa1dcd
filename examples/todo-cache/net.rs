//! An HTTP client for `serve`, over a persistent connection. `load` and `watch` use it.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};

/// How long a server may take for one response.
const IO_TIMEOUT: Duration = Duration::from_secs(15);
/// The maximum length of a response body, in bytes. More than any response of `serve` has.
const MAX_BODY_LEN: usize = 64 << 20;

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
}

/// A connection to a server.
#[derive(Debug)]
pub(crate) struct Connection {
    authority: String,
    stream: BufReader<TcpStream>,
}

impl Connection {
    pub(crate) fn open(authority: &str) -> io::Result<Self> {
        let stream = TcpStream::connect(authority)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(IO_TIMEOUT))?;
        stream.set_write_timeout(Some(IO_TIMEOUT))?;
        Ok(Self { authority: authority.to_owned(), stream: BufReader::new(stream) })
    }

    /// Sends a request and reads the response. After an error the connection cannot be used any more.
    pub(crate) fn request(&mut self, method: &str, path: &str, query: &[(&str, &str)]) -> io::Result<Reply> {
        self.send(method, path, query)?;
        let (status, length) = self.head()?;
        let mut body = vec![0; length.ok_or_else(|| malformed("the length of the response is missing"))?];
        self.stream.read_exact(&mut body)?;
        let body = String::from_utf8(body).map_err(|_| malformed("the response is not UTF-8 text"))?;
        Ok(Reply { status, body })
    }

    /// Subscribes to the events of the server; [`next_event`](Self::next_event) reads them.
    pub(crate) fn subscribe(&mut self) -> io::Result<()> {
        self.send("GET", "/events", &[])?;
        match self.head()? {
            (200, _) => Ok(()),
            (status, _) => Err(malformed(&format!("the status is {status}"))),
        }
    }

    /// Reads the next event: its kind and its data.
    pub(crate) fn next_event(&mut self) -> io::Result<(String, String)> {
        let (mut kind, mut data) = (String::new(), String::new());
        loop {
            let line = self.line()?;
            match line.split_once(": ") {
                Some(("event", rest)) => kind = rest.to_owned(),
                Some(("data", rest)) => data.push_str(rest),
                _ if line.is_empty() && !data.is_empty() => return Ok((kind, data)),
                _ => {}
            }
        }
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
        self.stream.get_mut().write_all(request.as_bytes())
    }

    /// Reads the status of a response and the length of its body.
    fn head(&mut self) -> io::Result<(u16, Option<usize>)> {
        let first = self.line()?;
        let status = first.split(' ').nth(1).and_then(|status| status.parse().ok());
        let status = status.ok_or_else(|| malformed("the response is not HTTP"))?;
        let mut length = None;
        loop {
            let line = self.line()?;
            if line.is_empty() {
                return Ok((status, length));
            }
            if let Some(("content-length", value)) = line.split_once(": ") {
                length = value.parse().ok().filter(|length| *length <= MAX_BODY_LEN);
            }
        }
    }

    fn line(&mut self) -> io::Result<String> {
        let mut line = String::new();
        if self.stream.by_ref().take(MAX_BODY_LEN as u64).read_line(&mut line)? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        Ok(line.trim_end().to_owned())
    }
}

fn malformed(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("not a todo-cache server: {what}"))
}
