//! Who may ask at all: the token, and the names under which this server may be asked.
//!
//! A server on loopback is still within reach of every web page that its user opens: a page's own
//! host name can be made to point at 127.0.0.1. So only known names are answered, and a request
//! that a browser marks with a foreign origin is not.

use std::{net::SocketAddr, sync::Arc};

use axum::{
    extract::Request,
    http::{HeaderMap, StatusCode, header},
    middleware::Next,
    response::{IntoResponse, Response},
};
use subtle::ConstantTimeEq;
use thiserror::Error;

use super::problem::Problem;

/// A secret that never shows in a log.
#[derive(Clone)]
pub struct Token(String);

impl Token {
    /// The text as it is, without white space around it.
    pub fn new(text: &str) -> Self {
        Self(text.trim().to_owned())
    }

    fn is(&self, given: &str) -> bool {
        self.0.as_bytes().ct_eq(given.as_bytes()).into()
    }
}

impl std::fmt::Debug for Token {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Token(…)")
    }
}

/// Who may ask.
#[derive(Debug, Clone)]
pub struct Guard {
    token: Option<Token>,
    /// Names besides the loopback ones; `None` answers to every name.
    hosts: Option<Vec<String>>,
}

/// Why a server would not be safe as it is asked for.
#[derive(Debug, Error)]
pub enum GuardError {
    /// Other machines could read and write without a token.
    #[error(
        "{address} can be reached from other machines, and there is no token \
         (set `token_file` in [api], or ENNIO_TOKEN; or listen on 127.0.0.1)"
    )]
    OpenToAll {
        /// The address.
        address: SocketAddr,
    },
    /// An empty token would be no token.
    #[error("the token is empty (write at least one character, or leave it out)")]
    EmptyToken,
}

impl Guard {
    /// The guard of a server at `address`, which on loopback answers to `hosts` besides its own
    /// names.
    ///
    /// # Errors
    /// [`GuardError`] when the server would be open to other machines without a token.
    pub fn new(
        address: SocketAddr,
        token: Option<Token>,
        hosts: Vec<String>,
    ) -> Result<Self, GuardError> {
        if token.as_ref().is_some_and(|token| token.0.is_empty()) {
            return Err(GuardError::EmptyToken);
        }
        let is_loopback = address.ip().is_loopback();
        if !is_loopback && token.is_none() {
            return Err(GuardError::OpenToAll { address });
        }
        // With a token, a page that finds the server still cannot use it.
        let hosts = (is_loopback || !hosts.is_empty()).then_some(hosts);
        Ok(Self { token, hosts })
    }

    fn judge(
        &self,
        path: &str,
        headers: &HeaderMap,
        authority: Option<&str>,
    ) -> Result<(), Problem> {
        self.judge_host(headers, authority)?;
        if let Some(origin) = text(headers, header::ORIGIN) {
            let name = origin.split_once("://").map_or(origin, |(_, rest)| rest);
            if !self.answers_to(name) {
                return Err(forbidden(format!(
                    "requests from the web page {origin:?} are not answered"
                )));
            }
        }
        // Whoever watches over the process needs no secret to see that it lives.
        let is_open = matches!(path, "/healthz" | "/readyz");
        match &self.token {
            Some(token) if !is_open => {
                let given = text(headers, header::AUTHORIZATION)
                    .and_then(|value| value.split_once(' '))
                    .filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer"))
                    .map_or("", |(_, given)| given.trim());
                match token.is(given) {
                    true => Ok(()),
                    false => Err(Problem::new(
                        StatusCode::UNAUTHORIZED,
                        "urn:ennio:problem:unauthorized",
                        "a token is needed",
                        "send `Authorization: Bearer …` with the host's token",
                    )),
                }
            }
            _ => Ok(()),
        }
    }

    fn judge_host(&self, headers: &HeaderMap, authority: Option<&str>) -> Result<(), Problem> {
        let mut named = headers.get_all(header::HOST).iter();
        let host = match (named.next().map(|host| host.to_str()), named.next()) {
            (_, Some(_)) => return Err(forbidden("more than one Host header".into())),
            (Some(Err(_)), _) => return Err(forbidden("a Host header that is no text".into())),
            (Some(Ok(host)), None) => host,
            (None, None) => authority.unwrap_or_default(),
        };
        let known = [Some(host), authority].into_iter().flatten().all(|name| self.answers_to(name));
        match known {
            true => Ok(()),
            false => Err(forbidden(format!(
                "this server does not answer to the name {host:?} (add it to `hosts` in [api])"
            ))),
        }
    }

    fn answers_to(&self, name_and_port: &str) -> bool {
        let Some(hosts) = &self.hosts else { return true };
        let name = match name_and_port.rsplit_once(':') {
            Some((name, port)) if port.bytes().all(|b| b.is_ascii_digit()) => name,
            _ => name_and_port,
        };
        ["localhost", "127.0.0.1", "[::1]"].contains(&name)
            || hosts.iter().any(|host| host.eq_ignore_ascii_case(name))
    }
}

fn text(headers: &HeaderMap, name: header::HeaderName) -> Option<&str> {
    headers.get(name).map(|value| value.to_str().unwrap_or("\u{fffd}"))
}

fn forbidden(detail: String) -> Problem {
    Problem::new(StatusCode::FORBIDDEN, "urn:ennio:problem:forbidden", "not answered", detail)
}

pub(super) async fn check(guard: Arc<Guard>, request: Request, next: Next) -> Response {
    let uri = request.uri();
    match guard.judge(uri.path(), request.headers(), uri.authority().map(|a| a.as_str())) {
        Ok(()) => next.run(request).await,
        Err(problem) => problem.into_response(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn guard(address: &str, token: Option<&str>, hosts: &[&str]) -> Result<Guard, GuardError> {
        let hosts = hosts.iter().map(ToString::to_string).collect();
        Guard::new(address.parse().unwrap(), token.map(Token::new), hosts)
    }

    fn headers(pairs: &[(header::HeaderName, &str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in pairs {
            headers.append(name, value.parse().unwrap());
        }
        headers
    }

    #[test]
    fn a_server_for_other_machines_needs_a_token() {
        assert!(guard("127.0.0.1:0", None, &[]).is_ok());
        assert!(guard("[::1]:0", None, &[]).is_ok());
        assert!(matches!(guard("0.0.0.0:0", None, &[]), Err(GuardError::OpenToAll { .. })));
        assert!(guard("0.0.0.0:0", Some("secret"), &[]).is_ok());
        assert!(matches!(guard("127.0.0.1:0", Some(" "), &[]), Err(GuardError::EmptyToken)));
    }

    #[test]
    fn only_known_names_are_answered_on_loopback() {
        let guard = guard("127.0.0.1:7117", None, &["ennio.test"]).unwrap();
        for good in ["127.0.0.1:7117", "localhost", "[::1]:7117", "ennio.test:80", "ENNIO.test"] {
            assert!(guard.judge("/", &headers(&[(header::HOST, good)]), None).is_ok(), "{good}");
        }
        for bad in ["evil.test", "evil.test:7117", "127.0.0.1.evil.test", "", "[::2]:7117"] {
            assert!(guard.judge("/", &headers(&[(header::HOST, bad)]), None).is_err(), "{bad}");
        }
        let two = headers(&[(header::HOST, "localhost"), (header::HOST, "evil.test")]);
        assert!(guard.judge("/", &two, None).is_err());
        assert!(guard.judge("/", &HeaderMap::new(), None).is_err());
        let local = headers(&[(header::HOST, "localhost")]);
        assert!(guard.judge("/", &local, Some("evil.test")).is_err(), "an absolute URI");
    }

    #[test]
    fn a_page_of_another_origin_is_not_answered() {
        let guard = guard("127.0.0.1:7117", None, &[]).unwrap();
        let from = |origin| headers(&[(header::HOST, "localhost"), (header::ORIGIN, origin)]);
        assert!(guard.judge("/", &from("http://localhost:3000"), None).is_ok());
        for bad in ["http://evil.test", "null", "http://127.0.0.1.evil.test"] {
            assert!(guard.judge("/", &from(bad), None).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_token_is_needed_everywhere_but_for_signs_of_life() {
        let guard = guard("127.0.0.1:7117", Some("secret"), &[]).unwrap();
        let with = |value| headers(&[(header::HOST, "localhost"), (header::AUTHORIZATION, value)]);
        for (value, good) in [
            ("Bearer secret", true),
            ("bearer secret", true),
            ("Bearer secre", false),
            ("Bearer secrett", false),
            ("Basic secret", false),
            ("secret", false),
        ] {
            assert_eq!(guard.judge("/metrics", &with(value), None).is_ok(), good, "{value}");
        }
        let without = headers(&[(header::HOST, "localhost")]);
        assert!(guard.judge("/v1/events", &without, None).is_err());
        assert!(guard.judge("/healthz", &without, None).is_ok());
        assert!(!format!("{guard:?}").contains("secret"));
    }
}
