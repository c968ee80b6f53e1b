//! Requests and answers.

use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::Duration;

use hyper::body::Incoming;
use hyper::header::{self, HeaderMap, HeaderValue};
use hyper::{Method, Request, Response, StatusCode};

use crate::answer::{Answer, SnapshotPieces, TimelinePieces, TracePieces};
use crate::connection::Progress;
use crate::inspectable::Inspectable;
use crate::server::{PATIENCE, State, nanoseconds};

/// The longest recording.
const LONGEST: Duration = Duration::from_secs(60);

const PAGE: &str = include_str!("page.html");

pub(crate) fn respond<M: Inspectable>(
    state: &Arc<State>,
    progress: &Arc<Progress>,
    request: &Request<Incoming>,
) -> Response<Answer> {
    let Ok(reactor) = M::current() else {
        return text(StatusCode::SERVICE_UNAVAILABLE, "The loop is gone.\n");
    };
    let patience = |more: Duration| {
        let deadline = state.loop_now(&reactor) + nanoseconds(PATIENCE + more);
        progress.set_deadline(deadline);
    };
    patience(Duration::ZERO);
    if state.checks_host && !is_for_this_machine(request.headers()) {
        let why = "The page is served for the names of this machine only: localhost and loopback addresses.\n";
        return text(StatusCode::FORBIDDEN, why);
    }
    if request.method() != Method::GET && request.method() != Method::HEAD {
        let mut answer = text(StatusCode::METHOD_NOT_ALLOWED, "There is only GET here.\n");
        let allowed = HeaderValue::from_static("GET, HEAD");
        answer.headers_mut().insert(header::ALLOW, allowed);
        return answer;
    }
    if request.uri().path() == "/" {
        return page();
    }
    if is_from_a_stranger(request.headers()) {
        return text(StatusCode::FORBIDDEN, "Other pages cannot ask this.\n");
    }
    let query = request.uri().query().unwrap_or_default();
    match request.uri().path() {
        "/snapshot" => match reactor.snapshot() {
            Ok(snapshot) => {
                let pieces = SnapshotPieces::new(state.clone(), snapshot);
                answer(
                    "application/json",
                    Answer::in_pieces(pieces, state, progress),
                )
            }
            Err(error) => text(StatusCode::SERVICE_UNAVAILABLE, &format!("{error}\n")),
        },
        "/timeline" => {
            let Some(since) = parameter(query, "since", 0) else {
                return text(StatusCode::BAD_REQUEST, "`since` is a number.\n");
            };
            state.record(&reactor);
            let pieces = TimelinePieces::new(state.clone(), since);
            answer(
                "application/json",
                Answer::in_pieces(pieces, state, progress),
            )
        }
        "/trace" => {
            let most = LONGEST.as_secs();
            let seconds = parameter(query, "seconds", 5).filter(|n| (1..=most).contains(n));
            let Some(seconds) = seconds else {
                let why = format!("`seconds` is a number from 1 to {most}.\n");
                return text(StatusCode::BAD_REQUEST, &why);
            };
            state.record(&reactor);
            let time = Duration::from_secs(seconds);
            patience(time);
            let renewed = state.clone();
            let go_on = move || {
                if let Ok(reactor) = M::current() {
                    renewed.record(&reactor);
                }
            };
            let pieces = TracePieces::new(state.clone(), time, go_on);
            let mut answer = answer(
                "application/json",
                Answer::in_pieces(pieces, state, progress),
            );
            let name = format!(
                "attachment; filename=\"oneloop-{}.json\"",
                std::process::id()
            );
            if let Ok(name) = HeaderValue::from_str(&name) {
                let headers = answer.headers_mut();
                headers.insert(header::CONTENT_DISPOSITION, name);
            }
            answer
        }
        _ => text(
            StatusCode::NOT_FOUND,
            "There are /, /snapshot, /timeline?since=CURSOR and /trace?seconds=N here.\n",
        ),
    }
}

/// Returns true if the request names this machine by a name that no stranger can give to it.
fn is_for_this_machine(headers: &HeaderMap) -> bool {
    let Some(host) = headers
        .get(header::HOST)
        .and_then(|host| host.to_str().ok())
    else {
        return false;
    };
    let name = match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => name,
        _ => host,
    };
    let is_loopback = |name: &str| name.parse().is_ok_and(|ip: Ipv4Addr| ip.is_loopback());
    name.eq_ignore_ascii_case("localhost") || name == "[::1]" || is_loopback(name)
}

/// Returns true if a browser says that another site's page asks.
fn is_from_a_stranger(headers: &HeaderMap) -> bool {
    let site = headers.get("sec-fetch-site");
    site.is_some_and(|site| site != "same-origin" && site != "none")
}

/// Returns a number of the query, or `None` if it is not a number.
fn parameter(query: &str, name: &str, default: u64) -> Option<u64> {
    let mut pairs = query.split('&').filter_map(|pair| pair.split_once('='));
    match pairs.find(|(key, _)| *key == name) {
        Some((_, value)) => value.parse().ok(),
        None => Some(default),
    }
}

fn text(status: StatusCode, text: &str) -> Response<Answer> {
    let body = Answer::whole(text.to_owned().into_bytes());
    let mut answer = answer("text/plain; charset=utf-8", body);
    *answer.status_mut() = status;
    answer
}

fn page() -> Response<Answer> {
    // Unknown to a name or a path that would be a script.
    let nonce = random();
    let page = PAGE.replace("{{nonce}}", &nonce);
    let body = Answer::whole(page.into_bytes());
    let mut answer = answer("text/html; charset=utf-8", body);
    let policy = format!(
        "default-src 'none'; script-src 'nonce-{nonce}'; style-src 'nonce-{nonce}'; connect-src 'self'; \
         base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    );
    if let Ok(policy) = HeaderValue::from_str(&policy) {
        let headers = answer.headers_mut();
        headers.insert(header::CONTENT_SECURITY_POLICY, policy);
    }
    answer
}

/// 64 bits of the seed that the standard library has for its hash tables.
fn random() -> String {
    use std::hash::{BuildHasher, RandomState};
    format!("{:016x}", RandomState::new().hash_one(0))
}

fn answer(kind: &'static str, body: Answer) -> Response<Answer> {
    let mut answer = Response::new(body);
    let headers = answer.headers_mut();
    let all = [
        (header::CONTENT_TYPE, kind),
        (header::CACHE_CONTROL, "no-store"),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::REFERRER_POLICY, "no-referrer"),
    ];
    for (name, value) in all {
        headers.insert(name, HeaderValue::from_static(value));
    }
    let resource = HeaderValue::from_static("same-origin");
    headers.insert("cross-origin-resource-policy", resource);
    answer
}
