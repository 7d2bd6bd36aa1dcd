//! HTTP/1.1 as far as the program speaks it: bytes to a request, a response to bytes. Pure; `web` reads and writes the
//! sockets.

use std::fmt::Write as _;
use std::net::Ipv4Addr;

/// The most bytes of a request's first line and headers together ..
pub(crate) const MAX_HEAD_LEN: usize = 8 * 1024;
/// .. of its body, which is read and not looked at: all parameters stand in the address, as in the book ..
pub(crate) const MAX_BODY_LEN: usize = 64 * 1024;
/// .. and of its headers by number.
const MAX_HEADERS: usize = 64;

/// What a client asks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Request {
    pub(crate) method: String,
    pub(crate) path: String,
    /// The parameters of the address, decoded, in order.
    pub(crate) query: Vec<(String, String)>,
    /// Who the client thinks we are.
    pub(crate) host: Option<String>,
    /// The page that sends it, if a browser does.
    pub(crate) origin: Option<String>,
    /// It has a header that no page of another site can set.
    pub(crate) has_csrf_header: bool,
    /// The client wants to go on with this connection.
    pub(crate) keep_alive: bool,
}

impl Request {
    /// The first parameter of that name.
    pub(crate) fn parameter(&self, name: &str) -> Option<&str> {
        self.query.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    /// Whether it was sent to some name that points here. Any site can have its own do so, and its pages would then be taken
    /// for ours.
    pub(crate) fn is_dns_rebinding(&self) -> bool {
        let own = |host: &str| {
            let name = host.rsplit_once(':').map_or(host, |(name, _)| name);
            name == "localhost" || name.parse::<Ipv4Addr>().is_ok_and(|address| address.is_loopback())
        };
        self.host.as_deref().is_some_and(|host| !own(host))
    }

    /// Whether a page of another site has sent it.
    pub(crate) fn is_cross_origin(&self) -> bool {
        let own = |origin: &str| {
            let host = origin.split_once("://").map(|(_, host)| host);
            host.is_some() && host == self.host.as_deref()
        };
        self.origin.as_deref().is_some_and(|origin| !own(origin))
    }
}

/// How far the bytes of a request go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Parsed {
    /// More are to come.
    Incomplete,
    /// A whole request, and how many bytes it took.
    Complete(Request, usize),
}

/// Why bytes are no request that is answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ParseError {
    Malformed,
    HeadTooLarge,
    BodyTooLarge,
    /// The length of the body is not said in a way that is understood here.
    Length,
    /// The address is not UTF-8, or not percent-encoded as it should be.
    Address,
}

impl ParseError {
    pub(crate) fn response(self) -> Response {
        let (status, text) = match self {
            Self::Malformed => (400, "this is not an HTTP/1.1 request"),
            Self::HeadTooLarge => (431, "the address and the headers have at most 8 KiB and 64 headers"),
            Self::BodyTooLarge => (413, "a body has at most 64 KiB"),
            Self::Length => (501, "the length of a body is said by one Content-Length, and by nothing else"),
            Self::Address => (400, "the address is not UTF-8 text in percent-encoding"),
        };
        Response::text(status, text)
    }
}

/// Reads a request from the bytes received so far.
///
/// # Errors
///
/// [`Bad`]; then nothing more can be understood on this connection.
pub(crate) fn parse(bytes: &[u8]) -> Result<Parsed, ParseError> {
    let mut headers = [httparse::EMPTY_HEADER; MAX_HEADERS];
    let mut raw = httparse::Request::new(&mut headers);
    let head = match raw.parse(bytes) {
        Ok(httparse::Status::Complete(head)) if head > MAX_HEAD_LEN => return Err(ParseError::HeadTooLarge),
        Ok(httparse::Status::Complete(head)) => head,
        Ok(httparse::Status::Partial) if bytes.len() > MAX_HEAD_LEN => return Err(ParseError::HeadTooLarge),
        Ok(httparse::Status::Partial) => return Ok(Parsed::Incomplete),
        Err(httparse::Error::TooManyHeaders) => return Err(ParseError::HeadTooLarge),
        Err(_) => return Err(ParseError::Malformed),
    };
    let all = |name: &str| -> Vec<&[u8]> {
        let named = raw.headers.iter().filter(|header| header.name.eq_ignore_ascii_case(name));
        named.map(|header| header.value).collect()
    };
    // What is said twice is one text that nobody means.
    let text = |name: &str| -> Option<String> {
        let all = all(name);
        (!all.is_empty()).then(|| String::from_utf8_lossy(&all.join(&b", "[..])).into_owned())
    };
    let body = match all("content-length")[..] {
        _ if !all("transfer-encoding").is_empty() => return Err(ParseError::Length),
        [] => 0,
        [length] => {
            let digits =
                std::str::from_utf8(length).ok().filter(|text| text.bytes().all(|b| b.is_ascii_digit()));
            let digits = digits.filter(|digits| !digits.is_empty()).ok_or(ParseError::Length)?;
            digits
                .parse::<usize>()
                .ok()
                .filter(|length| *length <= MAX_BODY_LEN)
                .ok_or(ParseError::BodyTooLarge)?
        }
        _ => return Err(ParseError::Length),
    };
    if bytes.len() < head + body {
        return Ok(Parsed::Incomplete);
    }
    let (path, query) = address(raw.path.unwrap_or_default())?;
    let connection = text("connection").unwrap_or_default().to_ascii_lowercase();
    let has_token = |what| connection.split(',').any(|word| word.trim() == what);
    let request = Request {
        method: raw.method.unwrap_or_default().to_owned(),
        path,
        query,
        host: text("host"),
        origin: text("origin"),
        has_csrf_header: all("x-todo") == [b"1"],
        keep_alive: if raw.version == Some(1) { !has_token("close") } else { has_token("keep-alive") },
    };
    Ok(Parsed::Complete(request, head + body))
}

/// The path and the parameters of a request's address.
fn address(text: &str) -> Result<(String, Vec<(String, String)>), ParseError> {
    let (path, query) = text.split_once('?').unwrap_or((text, ""));
    let pairs = query.split('&').filter(|pair| !pair.is_empty());
    let pairs = pairs.map(|pair| {
        let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
        Ok((percent_decode(&key.replace('+', " "))?, percent_decode(&value.replace('+', " "))?))
    });
    Ok((percent_decode(path)?, pairs.collect::<Result<_, ParseError>>()?))
}

/// Undoes percent-encoding. Not every `%` begins a code, and not every code is text: that is an error here, not a guess.
fn percent_decode(text: &str) -> Result<String, ParseError> {
    let is_valid = text.split('%').skip(1).all(|code| {
        let digits = code.as_bytes();
        digits.len() >= 2 && digits[..2].iter().all(u8::is_ascii_hexdigit)
    });
    let bytes = percent_encoding::percent_decode_str(text);
    if is_valid {
        bytes.decode_utf8().map(Into::into).map_err(|_| ParseError::Address)
    } else {
        Err(ParseError::Address)
    }
}

/// What a client is answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Response {
    pub(crate) status: u16,
    pub(crate) kind: &'static str,
    pub(crate) body: Vec<u8>,
    /// The method that would have been right.
    pub(crate) allow: Option<&'static str>,
}

impl Response {
    pub(crate) fn new(status: u16, kind: &'static str, body: impl Into<Vec<u8>>) -> Self {
        Self { status, kind, body: body.into(), allow: None }
    }

    pub(crate) fn text(status: u16, body: impl Into<String>) -> Self {
        Self::new(status, "text/plain; charset=utf-8", body.into())
    }

    pub(crate) fn json(body: &serde_json::Value) -> Self {
        Self::new(200, "application/json; charset=utf-8", body.to_string())
    }

    /// The bytes to be sent.
    pub(crate) fn bytes(&self, keep_alive: bool) -> Vec<u8> {
        let mut head = head(self.status, self.kind);
        // Writing to a String cannot fail.
        let _ = write!(head, "content-length: {}\r\n", self.body.len());
        if let Some(method) = self.allow {
            let _ = write!(head, "allow: {method}\r\n");
        }
        head.push_str(if keep_alive {
            "connection: keep-alive\r\n\r\n"
        } else {
            "connection: close\r\n\r\n"
        });
        let mut bytes = head.into_bytes();
        bytes.extend_from_slice(&self.body);
        bytes
    }
}

/// The beginning of every answer. The page is whole: nothing else may be loaded into it, and no other site may frame it.
pub(crate) fn head(status: u16, kind: &str) -> String {
    format!(
        "HTTP/1.1 {status} {}\r\ncontent-type: {kind}\r\ncache-control: no-store\r\nx-content-type-options: nosniff\r\n\
         content-security-policy: default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; \
         connect-src 'self'; img-src data:; form-action 'self'; base-uri 'none'; frame-ancestors 'none'\r\n",
        phrase(status)
    )
}

fn phrase(status: u16) -> &'static str {
    match status {
        200 => "OK",
        400 => "Bad Request",
        403 => "Forbidden",
        404 => "Not Found",
        405 => "Method Not Allowed",
        408 => "Request Timeout",
        413 => "Content Too Large",
        431 => "Request Header Fields Too Large",
        500 => "Internal Server Error",
        501 => "Not Implemented",
        _ => "Service Unavailable",
    }
}
