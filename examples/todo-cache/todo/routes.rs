//! The routes of the web server: the two of the Elixir original, which answer exactly as it does, and those of the page.
//! No I/O on sockets: that is in `web`.

use rethread::StartError;
use rethread::observer;
use rethread::process;
use serde_json::Value;

use super::chaos;
use super::client::Client;
use super::error::TodoError;
use super::http::{Request, Response};
use super::inject::{Fault, InjectError, inject_nowait};
use super::list::Entry;
use super::store::StoreError;
use super::view;
use super::{name, tree};

const PAGE: &str = include_str!("../page.html");

/// The options of the web server.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Options {
    /// The client for the lists.
    pub(crate) client: Client,
    /// Whether clients may kill processes.
    pub(crate) allow_kill: bool,
}

impl Options {
    /// Returns the process tree and the metrics as JSON.
    pub(crate) fn tree(&self) -> Value {
        view::tree(self.client.shape(), self.allow_kill, chaos::status())
    }
}

/// The answer to a request.
#[derive(Debug)]
pub(crate) enum Answer {
    Whole(Response),
    /// The stream of events, until the client closes the connection.
    Events,
}

/// The status and the text of a failed request.
struct HttpError(u16, String);

impl HttpError {
    fn bad_request(what: impl ToString) -> Self {
        Self(400, what.to_string())
    }
}

impl From<TodoError> for HttpError {
    fn from(error: TodoError) -> Self {
        let status = match &error {
            TodoError::NoSuchEntry(_) => 404,
            TodoError::Start(StartError::MaxChildren { .. }) | TodoError::Unavailable(_) => 503,
            TodoError::Start(_) | TodoError::Store(StoreError::NotWritable { .. }) => 503,
            TodoError::Store(_) | TodoError::Unanswered(_) => 500,
        };
        let text = error.to_string();
        Self(status, text.split_whitespace().collect::<Vec<_>>().join(" "))
    }
}

type RouteResult = Result<Response, HttpError>;

/// The methods of the two kinds of routes.
const READS: &str = "GET, HEAD, OPTIONS";
const CHANGES: &str = "POST, OPTIONS";

/// Handles a request.
pub(crate) fn answer(request: &Request, options: &Options) -> Answer {
    let allowed = match request.path.as_str() {
        "/" | "/entries" | "/entries.json" | "/lists" | "/events" | "/api/tree" | "/metrics" => READS,
        "/add_entry" | "/done" | "/rm" | "/edit" | "/kill" | "/crash" | "/chaos" => CHANGES,
        "*" => "GET, HEAD, POST, OPTIONS",
        _ => "",
    };
    let result = match request.method.as_str() {
        _ if request.is_dns_rebinding() => {
            Err(HttpError(403, "use the address 127.0.0.1 or localhost".into()))
        }
        "GET" | "HEAD" | "POST" | "PUT" | "PATCH" | "DELETE" | "OPTIONS" | "TRACE" if allowed.is_empty() => {
            Err(HttpError(404, "not found".into())) // the text of the Elixir original
        }
        "OPTIONS" => Ok(Response { allow: Some(allowed), ..ok() }),
        // `web` omits the body of a response to HEAD.
        "GET" | "HEAD" if allowed == READS && request.path == "/events" => match failed_precondition(request)
        {
            None => return Answer::Events,
            Some(failed) => Ok(failed),
        },
        "GET" | "HEAD" if allowed == READS => {
            read(request, options).map(|response| failed_precondition(request).unwrap_or(response))
        }
        "POST" if allowed == CHANGES && request.is_cross_origin() => {
            Err(HttpError(403, "requests from pages of other sites are not allowed".into()))
        }
        "POST" if allowed == CHANGES => {
            failed_precondition(request).map_or_else(|| change_something(request, options), Ok)
        }
        "GET" | "HEAD" | "POST" | "PUT" | "PATCH" | "DELETE" | "TRACE" => Ok(not_allowed(allowed)),
        _ => Err(HttpError(501, "this method is not implemented".into())),
    };
    Answer::Whole(result.unwrap_or_else(|HttpError(status, why)| Response::text(status, why)))
}

/// Handles a request that reads.
fn read(request: &Request, options: &Options) -> RouteResult {
    let client = options.client;
    match request.path.as_str() {
        "/" => Ok(page()),
        "/entries" => entries(request, client).map(|entries| Response::text(200, plain_text(&entries))),
        "/entries.json" => entries(request, client).map(|entries| Response::json(&view::entries(&entries))),
        "/lists" => lists(client),
        "/api/tree" => Ok(Response::json(&options.tree())),
        _ => Ok(Response::new(200, "text/plain; version=0.0.4", view::prometheus())), // "/metrics"
    }
}

/// Handles a request that changes something.
fn change_something(request: &Request, options: &Options) -> RouteResult {
    let client = options.client;
    match request.path.as_str() {
        "/add_entry" => add(request, client),
        "/done" => change(request, |list, id| client.done(list, id)),
        "/rm" => change(request, |list, id| client.remove(list, id)),
        "/edit" => edit(request, client),
        _ => inject_fault(request, options), // "/kill", "/crash", "/chaos"
    }
}

/// Evaluates the preconditions of a request (RFC 9110, section 13.2.2). No response has an entity tag or a date of
/// modification, and only what can be read has a representation, so only `*` can match.
fn failed_precondition(request: &Request) -> Option<Response> {
    let is_read = request.method != "POST";
    let is_any = |value: &Option<String>| value.as_deref().is_some_and(|value| value.trim() == "*");
    if request.if_match.is_some() && !(is_read && is_any(&request.if_match)) {
        return Some(Response::text(412, "nothing has an entity tag here that could match If-Match"));
    }
    (is_read && is_any(&request.if_none_match)).then(|| Response::new(304, "text/plain; charset=utf-8", ""))
}

fn not_allowed(allowed: &'static str) -> Response {
    let methods = allowed.trim_end_matches(", OPTIONS").replace(", HEAD", "");
    Response { allow: Some(allowed), ..Response::text(405, format!("only {methods} is allowed here")) }
}

/// Returns the page. It contains the tree as text, for browsers without scripts.
fn page() -> Response {
    let mut text = observer_text();
    for (plain, html) in [("&", "&amp;"), ("<", "&lt;"), (">", "&gt;")] {
        text = text.replace(plain, html);
    }
    Response::new(200, "text/html; charset=utf-8", PAGE.replace("{{TREE}}", &text))
}

fn observer_text() -> String {
    let count = observer::snapshot().processes.len();
    format!("{}\n\n{count} processes, {} zombies", tree::lines().join("\n"), process::zombies().len())
}

/// Returns a required parameter.
fn parameter<'a>(request: &'a Request, name: &str) -> Result<&'a str, HttpError> {
    request.parameter(name).ok_or_else(|| HttpError::bad_request(format!("the parameter {name} is missing")))
}

fn list_of(request: &Request) -> Result<name::ListName, HttpError> {
    parameter(request, "list")?.parse().map_err(HttpError::bad_request)
}

fn id_of(request: &Request) -> Result<u64, HttpError> {
    let text = parameter(request, "id")?;
    text.parse().map_err(|_| HttpError::bad_request(format!("expected the number of an entry, not {text:?}")))
}

/// Returns the requested entries: of one day, or all.
fn entries(request: &Request, client: Client) -> Result<Vec<Entry>, HttpError> {
    let date =
        request.parameter("date").map(|date| date.parse().map_err(HttpError::bad_request)).transpose()?;
    Ok(client.entries(&list_of(request)?, date)?)
}

/// Formats the entries as in the Elixir original: one line each, date and title.
fn plain_text(entries: &[Entry]) -> String {
    let lines: Vec<String> = entries.iter().map(|entry| format!("{} {}", entry.date, entry.title)).collect();
    lines.join("\n")
}

fn lists(client: Client) -> RouteResult {
    let names: Value = client.lists()?.iter().map(|list| list.as_str().to_owned()).collect();
    Ok(Response::json(&names))
}

fn add(request: &Request, client: Client) -> RouteResult {
    let date = parameter(request, "date")?.parse().map_err(HttpError::bad_request)?;
    let title = parameter(request, "title")?.parse().map_err(HttpError::bad_request)?;
    client.add(&list_of(request)?, date, &title)?;
    Ok(ok())
}

fn edit(request: &Request, client: Client) -> RouteResult {
    let title = parameter(request, "title")?.parse().map_err(HttpError::bad_request)?;
    client.edit(&list_of(request)?, id_of(request)?, &title)?;
    Ok(ok())
}

fn change(
    request: &Request,
    change: impl FnOnce(&name::ListName, u64) -> Result<Entry, TodoError>,
) -> RouteResult {
    change(&list_of(request)?, id_of(request)?)?;
    Ok(ok())
}

fn ok() -> Response {
    Response::text(200, "OK")
}

/// Injects a fault. Only if the server was started with `--allow-kill`, and only with a header that a form or
/// an image on a page of another site cannot set.
fn inject_fault(request: &Request, options: &Options) -> RouteResult {
    if !options.allow_kill {
        return Err(HttpError(403, "the server was not started with --allow-kill".into()));
    }
    if !request.has_csrf_header {
        return Err(HttpError(403, "the header `X-Todo: 1` is missing".into()));
    }
    match request.path.as_str() {
        "/chaos" => match parameter(request, "on")? {
            "1" => chaos::start(options.client).map_err(|error| HttpError(503, error.to_string()))?,
            "0" => chaos::stop(),
            other => return Err(HttpError::bad_request(format!("expected on=1 or on=0, not {other:?}"))),
        },
        path => {
            let fault = if path == "/kill" { Fault::Kill } else { Fault::Crash };
            let name = parameter(request, "name")?;
            let known = tree::find(name).map_or(name.to_owned(), |member| member.name); // it may be a pid
            if known == "system" || known.starts_with("web") {
                return Err(HttpError(
                    403,
                    format!("{known} serves this request, or supervises the whole system"),
                ));
            }
            inject_nowait(name, fault).map_err(|error| match error {
                InjectError::Timeout => HttpError(500, error.to_string()),
                InjectError::Unknown(_) | InjectError::NoHandler(..) => HttpError(404, error.to_string()),
            })?;
        }
    }
    Ok(ok())
}
