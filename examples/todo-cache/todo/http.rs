//! The part of HTTP/1.1 that the program uses: parses a request from bytes, formats a response as bytes. No
//! I/O: `web` reads and writes the sockets.

use std::fmt::Write as _;
use std::net::Ipv4Addr;

/// The maximum length of the request line and the headers, in bytes.
pub(crate) const MAX_HEAD_LEN: usize = 8 * 1024;
/// The maximum length of the body, in bytes. It is read and ignored: all parameters are in the address, as in
/// the Elixir original.
pub(crate) const MAX_BODY_LEN: usize = 64 * 1024;
/// The maximum number of headers.
const MAX_HEADERS: usize = 64;

/// A request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Request {
    pub(crate) method: String,
    pub(crate) path: String,
    /// The parameters of the address, decoded, in order.
    pub(crate) query: Vec<(String, String)>,
    /// The `Host` header.
    pub(crate) host: Option<String>,
    /// The `Origin` header: the page that sent the request, if it is from a browser.
    pub(crate) origin: Option<String>,
    /// Whether it has the header `X-Todo: 1`, which a page of another site cannot set.
    pub(crate) has_csrf_header: bool,
    /// Whether the client wants to keep the connection open.
    pub(crate) keep_alive: bool,
}

impl Request {
    /// Returns the first parameter with this name.
    pub(crate) fn parameter(&self, name: &str) -> Option<&str> {
        self.query.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    /// Returns `true` if the request was sent to a host name other than localhost. Any site can make its own
    /// name resolve to 127.0.0.1 (DNS rebinding); its pages would then have the same origin as this server.
    pub(crate) fn is_dns_rebinding(&self) -> bool {
        let own = |host: &str| {
            let name = host.rsplit_once(':').map_or(host, |(name, _)| name);
            name == "localhost" || name.parse::<Ipv4Addr>().is_ok_and(|address| address.is_loopback())
        };
        self.host.as_deref().is_some_and(|host| !own(host))
    }

    /// Returns `true` if a page of another site has sent the request.
    pub(crate) fn is_cross_origin(&self) -> bool {
        let own = |origin: &str| {
            let host = origin.split_once("://").map(|(_, host)| host);
            host.is_some() && host == self.host.as_deref()
        };
        self.origin.as_deref().is_some_and(|origin| !own(origin))
    }
}

/// The result of parsing the bytes received so far.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Parsed {
    /// More are to come.
    Incomplete,
    /// A whole request, and how many bytes it took.
    Complete(Request, usize),
}

/// Why the bytes are not an acceptable request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ParseError {
    Malformed,
    HeadTooLarge,
    BodyTooLarge,
    /// The length of the body is given in an unsupported way.
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
            Self::Length => (501, "the length of a body must be given by exactly one Content-Length header"),
            Self::Address => (400, "the address is not UTF-8 text in percent-encoding"),
        };
        Response::text(status, text)
    }
}

/// Parses a request from the bytes received so far.
///
/// # Errors
///
/// [`ParseError`]; the connection cannot be used after it.
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
    // A header that is given twice is joined to one text, which then does not match any valid value.
    let text = |name: &str| -> Option<String> {
        let all = all(name);
        (!all.is_empty()).then(|| String::from_utf8_lossy(&all.join(&b", "[..])).into_owned())
    };
    // Exactly one way to give the length is accepted. If this server and a proxy disagreed about the end of a
    // request, the rest of its body could be read as another request (request smuggling).
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
    // The request is complete: decode the address and the connection header.
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

/// Splits the address of a request into the path and the parameters.
fn address(text: &str) -> Result<(String, Vec<(String, String)>), ParseError> {
    let (path, query) = text.split_once('?').unwrap_or((text, ""));
    let pairs = query.split('&').filter(|pair| !pair.is_empty());
    let pairs = pairs.map(|pair| {
        let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
        Ok((percent_decode(&key.replace('+', " "))?, percent_decode(&value.replace('+', " "))?))
    });
    Ok((percent_decode(path)?, pairs.collect::<Result<_, ParseError>>()?))
}

/// Decodes percent-encoding. An invalid code, and bytes that are not UTF-8, are errors.
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

/// A response.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Response {
    pub(crate) status: u16,
    pub(crate) kind: &'static str,
    pub(crate) body: Vec<u8>,
    /// The allowed method, in a response with status 405.
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

    /// Formats the response as bytes.
    pub(crate) fn bytes(&self, keep_alive: bool) -> Vec<u8> {
        let mut head = head(self.status, self.kind);
        // Writing to a `String` cannot fail.
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

/// Formats the first headers of every response. The page is self-contained: it may load nothing else, and no
/// other site may put it into a frame.
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
