//! The part of HTTP/1.1 that the program uses: parses a request from bytes, formats a response as bytes. No
//! I/O: `web` reads and writes the sockets. `HTTP.md` lists the requirements of RFC 9110 and RFC 9112, each with its test.

use std::fmt::Write as _;
use std::net::Ipv4Addr;
use std::ops::Range;
use std::time::SystemTime;

/// The maximum length of the request line, in bytes. RFC 9112, section 3, recommends at least 8000.
pub(crate) const MAX_LINE_LEN: usize = 8 * 1024;
/// The maximum length of the request line and the headers, in bytes.
pub(crate) const MAX_HEAD_LEN: usize = 16 * 1024;
/// The maximum length of the body as it is sent, in bytes. It is read and ignored: all parameters are in the address, as in
/// the Elixir original.
pub(crate) const MAX_BODY_LEN: usize = 64 * 1024;
/// The maximum length of the line before a chunk of a body, in bytes.
const MAX_CHUNK_LINE_LEN: usize = 1024;
/// The maximum number of headers, and of trailers.
const MAX_HEADERS: usize = 64;

/// The interim response to a client that waits for it before it sends a body.
pub(crate) const CONTINUE: &[u8] = b"HTTP/1.1 100 Continue\r\n\r\n";

/// A request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Request {
    pub(crate) method: String,
    pub(crate) path: String,
    /// The parameters of the address, decoded, in order.
    pub(crate) query: Vec<(String, String)>,
    /// The host of an absolute address, or else the `Host` header. `None` only in HTTP/1.0.
    pub(crate) host: Option<String>,
    /// The `Origin` header: the page that sent the request, if it is from a browser.
    pub(crate) origin: Option<String>,
    /// Whether it has the header `X-Todo: 1`, which a page of another site cannot set.
    pub(crate) has_csrf_header: bool,
    /// Whether the client wants to keep the connection open.
    pub(crate) keep_alive: bool,
    /// The `If-Match` header.
    pub(crate) if_match: Option<String>,
    /// The `If-None-Match` header.
    pub(crate) if_none_match: Option<String>,
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
            name.eq_ignore_ascii_case("localhost")
                || name.parse::<Ipv4Addr>().is_ok_and(|address| address.is_loopback())
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
    /// The headers are complete, and the client waits for [`CONTINUE`] before it sends the body.
    AwaitsContinue,
    /// A whole request, and how many bytes it took.
    Complete(Request, usize),
}

/// Why the bytes are not an acceptable request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ParseError {
    Malformed,
    LineTooLong,
    HeadTooLarge,
    BodyTooLarge,
    /// The length of the body is not certain.
    Length,
    /// The body has a transfer coding other than `chunked`.
    Coding,
    /// The address is not UTF-8, or not percent-encoded as it should be, or not of a form that the method allows.
    Address,
    /// The address has the scheme `https`, and the connection is not secured.
    Misdirected,
    /// The `Host` header is missing, invalid, or there are several.
    Host,
    /// Neither HTTP/1.0 nor HTTP/1.1 nor a later minor version.
    Version,
    /// The client expects something other than `100-continue`.
    Expectation,
}

impl ParseError {
    pub(crate) const ALL: [Self; 11] = [
        Self::Malformed,
        Self::LineTooLong,
        Self::HeadTooLarge,
        Self::BodyTooLarge,
        Self::Length,
        Self::Coding,
        Self::Address,
        Self::Misdirected,
        Self::Host,
        Self::Version,
        Self::Expectation,
    ];

    pub(crate) fn response(self) -> Response {
        let (status, text) = match self {
            Self::Malformed => (400, "this is not an HTTP/1.1 request"),
            Self::LineTooLong => (414, "the method and the address have at most 8 KiB"),
            Self::HeadTooLarge => (431, "the address and the headers have at most 16 KiB and 64 headers"),
            Self::BodyTooLarge => (413, "a body has at most 64 KiB"),
            Self::Length => (
                400,
                "the length of a body must be given by one Content-Length or by Transfer-Encoding: chunked",
            ),
            Self::Coding => (501, "the only transfer coding that is implemented is chunked"),
            Self::Address => (400, "the address is not a path or URL in UTF-8 and percent-encoding"),
            Self::Misdirected => (421, "this server has no TLS: use http instead of https"),
            Self::Host => (400, "a request needs exactly one valid Host header"),
            Self::Version => (505, "this server understands HTTP/1.1"),
            Self::Expectation => (417, "the only expectation that can be met is 100-continue"),
        };
        Response::text(status, text)
    }
}

/// How the end of a body is found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Body {
    Length(usize),
    Chunked,
}

/// Parses a request from the bytes received so far.
///
/// # Errors
///
/// [`ParseError`]; the connection cannot be used after it.
pub(crate) fn parse(bytes: &[u8]) -> Result<Parsed, ParseError> {
    let line = request_line(bytes);
    if line.len() > MAX_LINE_LEN {
        return Err(ParseError::LineTooLong);
    }
    let mut headers = [httparse::EMPTY_HEADER; MAX_HEADERS];
    let mut raw = httparse::Request::new(&mut headers);
    let head = match raw.parse(bytes) {
        Ok(httparse::Status::Complete(head)) if head > MAX_HEAD_LEN => return Err(ParseError::HeadTooLarge),
        Ok(httparse::Status::Complete(head)) => head,
        Ok(httparse::Status::Partial) if bytes.len() > MAX_HEAD_LEN => return Err(ParseError::HeadTooLarge),
        Ok(httparse::Status::Partial) => return Ok(Parsed::Incomplete),
        Err(httparse::Error::TooManyHeaders) => return Err(ParseError::HeadTooLarge),
        Err(httparse::Error::Version) => return parse_other_version(bytes, line),
        Err(_) => return Err(ParseError::Malformed),
    };
    let headers = Headers(raw.headers);
    let is_1_1 = raw.version == Some(1);
    // What decides about the whole connection comes first: where the request is for, and where it ends.
    let target = Target::parse(raw.path.unwrap_or_default(), raw.method.unwrap_or_default())?;
    let host = match headers.all("host")[..] {
        [] if !is_1_1 => None,
        [host] => Some(std::str::from_utf8(host).ok().filter(|host| is_host(host)).ok_or(ParseError::Host)?),
        _ => return Err(ParseError::Host),
    };
    let body = headers.body(is_1_1)?;
    let expects = is_1_1 && headers.expects_continue()?;
    let end = match body {
        Body::Length(length) => Some(length).filter(|length| bytes.len() >= head + length),
        Body::Chunked => chunked_len(&bytes[head..])?,
    };
    let Some(body) = end else {
        // A client that has begun to send the body does not wait.
        let waits = expects && bytes.len() == head;
        return Ok(if waits { Parsed::AwaitsContinue } else { Parsed::Incomplete });
    };
    // The request is complete: decode the address and the other headers.
    let (path, query) = target.decode()?;
    let connection = headers.text("connection").unwrap_or_default().to_ascii_lowercase();
    let has_token = |what| connection.split(',').any(|word| word.trim() == what);
    let request = Request {
        method: raw.method.unwrap_or_default().to_owned(),
        path,
        query,
        host: target.authority.or(host).map(str::to_owned),
        origin: headers.text("origin"),
        has_csrf_header: headers.all("x-todo") == [b"1"],
        keep_alive: if is_1_1 { !has_token("close") } else { has_token("keep-alive") },
        if_match: headers.text("if-match"),
        if_none_match: headers.text("if-none-match"),
    };
    Ok(Parsed::Complete(request, head + body))
}

/// Returns where the request line is, as far as it was received, without the line feed. Line breaks before it are ignored.
fn request_line(bytes: &[u8]) -> Range<usize> {
    let start = bytes.iter().position(|byte| !b"\r\n".contains(byte)).unwrap_or(bytes.len());
    let len = bytes[start..].iter().position(|byte| *byte == b'\n');
    start..len.map_or(bytes.len(), |len| start + len)
}

/// Parses a request that is not HTTP/1.0 or HTTP/1.1. A later minor version is parsed like HTTP/1.1 (RFC 9110, section 2.5).
fn parse_other_version(bytes: &[u8], line: Range<usize>) -> Result<Parsed, ParseError> {
    if line.end == bytes.len() {
        return Ok(Parsed::Incomplete); // the version may not be complete
    }
    let text = bytes[line.clone()].strip_suffix(b"\r").unwrap_or(&bytes[line.clone()]);
    let words: Vec<&[u8]> = text.split(|byte| *byte == b' ').collect();
    let [_, _, version] = words[..] else { return Err(ParseError::Malformed) };
    match *version {
        [b'H', b'T', b'T', b'P', b'/', b'1', b'.', b'2'..=b'9'] => {
            let minor = line.start + text.len() - 1;
            parse(&[&bytes[..minor], b"1", &bytes[minor + 1..]].concat())
        }
        [b'H', b'T', b'T', b'P', b'/', b'0'..=b'9', b'.', b'0'..=b'9'] => Err(ParseError::Version),
        _ => Err(ParseError::Malformed),
    }
}

/// The headers of a request.
struct Headers<'a>(&'a [httparse::Header<'a>]);

impl<'a> Headers<'a> {
    /// Returns the values of all headers with this name.
    fn all(&self, name: &str) -> Vec<&'a [u8]> {
        let named = self.0.iter().filter(|header| header.name.eq_ignore_ascii_case(name));
        named.map(|header| header.value).collect()
    }

    /// Returns the value of a header. Several with the same name are joined to one text: for a header that is no list, it
    /// then does not match any valid value.
    fn text(&self, name: &str) -> Option<String> {
        let all = self.all(name);
        (!all.is_empty()).then(|| String::from_utf8_lossy(&all.join(&b", "[..])).into_owned())
    }

    /// Returns the elements of a header that is a list, in lower case. Empty elements are ignored.
    fn list(&self, name: &str) -> Vec<String> {
        let text = self.text(name).unwrap_or_default().to_ascii_lowercase();
        text.split(',')
            .map(|element| element.trim().to_owned())
            .filter(|element| !element.is_empty())
            .collect()
    }

    /// Returns how the end of the body is found. Exactly one way to give the length is accepted: if this server and a proxy
    /// disagreed about the end of a request, the rest of its body could be read as another request (request smuggling).
    fn body(&self, is_1_1: bool) -> Result<Body, ParseError> {
        let lengths = self.all("content-length");
        if !self.all("transfer-encoding").is_empty() {
            let codings = self.list("transfer-encoding");
            let chunked = codings.iter().filter(|coding| *coding == "chunked").count();
            return match codings.last() {
                Some(last) if is_1_1 && lengths.is_empty() && last == "chunked" && chunked == 1 => {
                    if codings.len() == 1 { Ok(Body::Chunked) } else { Err(ParseError::Coding) }
                }
                _ => Err(ParseError::Length),
            };
        }
        match lengths[..] {
            [] => Ok(Body::Length(0)),
            [length] if !length.is_empty() && length.iter().all(u8::is_ascii_digit) => {
                // A number that does not fit is too large as well.
                let length = std::str::from_utf8(length).ok().and_then(|digits| digits.parse().ok());
                let length = length.filter(|length| *length <= MAX_BODY_LEN);
                length.map(Body::Length).ok_or(ParseError::BodyTooLarge)
            }
            _ => Err(ParseError::Length),
        }
    }

    /// Returns `true` if the client expects `100-continue`.
    fn expects_continue(&self) -> Result<bool, ParseError> {
        let expectations = self.list("expect");
        match expectations.iter().all(|one| one == "100-continue") {
            true => Ok(!expectations.is_empty()),
            false => Err(ParseError::Expectation),
        }
    }
}

/// Returns the length of a chunked body, with its trailers; `None` if it is not complete.
fn chunked_len(bytes: &[u8]) -> Result<Option<usize>, ParseError> {
    let mut at = 0;
    loop {
        // The size of the next chunk, in hexadecimal digits, and perhaps extensions, which are ignored.
        let rest = &bytes[at..];
        let line = rest.iter().position(|byte| *byte == b'\n').map(|end| &rest[..end]);
        let read = line.map_or(rest.len(), <[u8]>::len);
        if at + read > MAX_BODY_LEN {
            return Err(ParseError::BodyTooLarge);
        }
        if read > MAX_CHUNK_LINE_LEN {
            return Err(ParseError::Malformed);
        }
        let Some(line) = line else { return Ok(None) };
        let line = line.strip_suffix(b"\r").ok_or(ParseError::Malformed)?;
        let digits = line.iter().take_while(|byte| byte.is_ascii_hexdigit()).count();
        let extension = line[digits..].trim_ascii_start();
        let is_text = extension.iter().all(|byte| *byte == b'\t' || !byte.is_ascii_control());
        if digits == 0 || !is_text || !(extension.is_empty() || extension.starts_with(b";")) {
            return Err(ParseError::Malformed);
        }
        let digits = std::str::from_utf8(&line[..digits]).unwrap_or_default();
        let size = usize::from_str_radix(digits, 16).map_err(|_| ParseError::BodyTooLarge)?;
        at += read + 1;
        if size == 0 {
            break;
        }
        // The chunk, and a line break.
        let end =
            at.checked_add(size).filter(|end| end + 2 <= MAX_BODY_LEN).ok_or(ParseError::BodyTooLarge)?;
        let break_so_far = bytes.get(end..bytes.len().min(end + 2)).unwrap_or_default();
        if !b"\r\n".starts_with(break_so_far) {
            return Err(ParseError::Malformed);
        }
        if bytes.len() < end + 2 {
            return Ok(None);
        }
        at = end + 2;
    }
    let mut trailers = [httparse::EMPTY_HEADER; MAX_HEADERS];
    let end = match httparse::parse_headers(&bytes[at..], &mut trailers) {
        Ok(httparse::Status::Complete((length, _))) => Some(at + length),
        Ok(httparse::Status::Partial) => None,
        Err(httparse::Error::TooManyHeaders) => return Err(ParseError::HeadTooLarge),
        Err(_) => return Err(ParseError::Malformed),
    };
    if end.unwrap_or(bytes.len()) > MAX_BODY_LEN {
        return Err(ParseError::BodyTooLarge);
    }
    Ok(end)
}

/// The address of a request.
struct Target<'a> {
    /// The host, if the address is a URL.
    authority: Option<&'a str>,
    path: &'a str,
}

impl<'a> Target<'a> {
    /// Parses an address in one of the four forms of RFC 9112, section 3.2.
    fn parse(text: &'a str, method: &str) -> Result<Self, ParseError> {
        let is_options = method == "OPTIONS";
        if text.contains('#') {
            return Err(ParseError::Address); // a fragment is never sent
        }
        if text.starts_with('/') || (text == "*" && is_options) || method == "CONNECT" {
            return Ok(Self { authority: None, path: text });
        }
        let (scheme, rest) = text.split_once("://").ok_or(ParseError::Address)?;
        if scheme.eq_ignore_ascii_case("https") {
            return Err(ParseError::Misdirected);
        }
        let (authority, path) = rest.split_at(rest.find(['/', '?']).unwrap_or(rest.len()));
        if !scheme.eq_ignore_ascii_case("http") || authority.is_empty() || !is_host(authority) {
            return Err(ParseError::Address);
        }
        // `OPTIONS http://host` is a question about the server, like `*`.
        let path = if path.is_empty() && is_options { "*" } else { path };
        Ok(Self { authority: Some(authority), path })
    }

    /// Splits the address into the path and the parameters.
    fn decode(&self) -> Result<(String, Vec<(String, String)>), ParseError> {
        let (path, query) = self.path.split_once('?').unwrap_or((self.path, ""));
        let path = if path.is_empty() { "/" } else { path };
        let pairs = query.split('&').filter(|pair| !pair.is_empty());
        let pairs = pairs.map(|pair| {
            let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
            Ok((percent_decode(&key.replace('+', " "))?, percent_decode(&value.replace('+', " "))?))
        });
        Ok((percent_decode(path)?, pairs.collect::<Result<_, ParseError>>()?))
    }
}

/// Returns `true` if the text is a host as in a URL (RFC 3986, section 3.2.2), perhaps with a port. An empty one is valid.
fn is_host(text: &str) -> bool {
    let (name, port) = match text.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((address, port)) => {
            let is_address = |byte: u8| byte.is_ascii_hexdigit() || b":.".contains(&byte);
            return address.bytes().all(is_address)
                && (port.is_empty()
                    || port
                        .strip_prefix(':')
                        .is_some_and(|port| port.bytes().all(|byte| byte.is_ascii_digit())));
        }
        None => text.split_once(':').unwrap_or((text, "")),
    };
    let is_name = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~!$&'()*+,;=%".contains(&byte);
    name.bytes().all(is_name)
        && port.bytes().all(|byte| byte.is_ascii_digit())
        && percent_decode(name).is_ok()
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
    /// The allowed methods, in a response with status 405 or to the method `OPTIONS`.
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
        // Writing to a `String` cannot fail. A response with status 304 has no body, whatever its length.
        if self.status != 304 {
            let _ = write!(head, "content-length: {}\r\n", self.body.len());
        }
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
        "HTTP/1.1 {status} {}\r\ndate: {}\r\ncontent-type: {kind}\r\ncache-control: no-store\r\nx-content-type-options: nosniff\r\n\
         content-security-policy: default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; \
         connect-src 'self'; img-src data:; form-action 'self'; base-uri 'none'; frame-ancestors 'none'\r\n",
        phrase(status),
        date(SystemTime::now())
    )
}

/// Formats a time like `Sun, 06 Nov 1994 08:49:37 GMT` (RFC 9110, section 5.6.7).
pub(crate) fn date(time: SystemTime) -> String {
    // A clock that is outside of the years that jiff knows is as good as none.
    let time = jiff::Timestamp::try_from(time).unwrap_or(jiff::Timestamp::UNIX_EPOCH);
    time.strftime("%a, %d %b %Y %H:%M:%S GMT").to_string()
}

/// Returns the reason phrase of a status (RFC 9110, section 15).
fn phrase(status: u16) -> &'static str {
    match status {
        200 => "OK",
        304 => "Not Modified",
        400 => "Bad Request",
        403 => "Forbidden",
        404 => "Not Found",
        405 => "Method Not Allowed",
        408 => "Request Timeout",
        412 => "Precondition Failed",
        413 => "Content Too Large",
        414 => "URI Too Long",
        417 => "Expectation Failed",
        421 => "Misdirected Request",
        431 => "Request Header Fields Too Large",
        500 => "Internal Server Error",
        501 => "Not Implemented",
        505 => "HTTP Version Not Supported",
        _ => "Service Unavailable",
    }
}
