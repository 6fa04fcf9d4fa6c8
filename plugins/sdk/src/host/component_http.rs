//! One request over `wasi:http`, from its first byte to the last of the answer, within its time.

use std::time::Duration;

use crate::bindings::http::wasi::clocks::monotonic_clock;
use crate::bindings::http::wasi::http::outgoing_handler;
use crate::bindings::http::wasi::http::types::{
    ErrorCode, Fields, FutureIncomingResponse, IncomingBody, IncomingResponse, Method,
    OutgoingBody, OutgoingRequest, RequestOptions, Scheme, http_error_code,
};
use crate::bindings::http::wasi::io::poll::{Pollable, poll};
use crate::bindings::http::wasi::io::streams::StreamError;
use crate::http::{Error, Request, Response, Target};

/// What is read of a body in one go, in bytes.
const PIECE: u64 = 64 << 10;

pub(crate) fn http(request: &Request, target: &Target<'_>) -> Result<Response, Error> {
    let timer = monotonic_clock::subscribe_duration(nanos(request.timeout));
    let outgoing = outgoing(request, target)?;
    let body = outgoing.body().map_err(|()| Error::Invalid("the request has two bodies".into()))?;
    let options = RequestOptions::new();
    // An implementation may not have these; the timer is there in any case.
    let _ = options.set_connect_timeout(Some(nanos(request.timeout)));
    let _ = options.set_first_byte_timeout(Some(nanos(request.timeout)));
    let answer = outgoing_handler::handle(outgoing, Some(options)).map_err(failure)?;
    write(body, &request.body, &answer, &timer)?;
    read(wait(&answer, &timer)?, &timer)
}

fn outgoing(request: &Request, target: &Target<'_>) -> Result<OutgoingRequest, Error> {
    let headers = Fields::new();
    let length = ("content-length".to_owned(), request.body.len().to_string());
    let length = (!request.body.is_empty()).then_some(length);
    for (name, value) in request.headers.iter().chain(&length) {
        headers.append(name, value.as_bytes()).map_err(|error| {
            Error::Invalid(format!("the header {name} cannot be set: {error:?}"))
        })?;
    }
    let outgoing = OutgoingRequest::new(headers);
    let invalid = |what: &str| Error::Invalid(format!("{what} of the URL is not valid"));
    let scheme = if target.is_tls { Scheme::Https } else { Scheme::Http };
    outgoing.set_scheme(Some(&scheme)).map_err(|()| invalid("the scheme"))?;
    outgoing.set_authority(Some(target.authority)).map_err(|()| invalid("the authority"))?;
    let path = Some(target.path_and_query).filter(|path| !path.is_empty());
    outgoing.set_path_with_query(path).map_err(|()| invalid("the path"))?;
    outgoing
        .set_method(&method(&request.method))
        .map_err(|()| Error::Invalid(format!("{:?} is not a method", request.method)))?;
    Ok(outgoing)
}

fn method(name: &str) -> Method {
    match name {
        "GET" => Method::Get,
        "HEAD" => Method::Head,
        "POST" => Method::Post,
        "PUT" => Method::Put,
        "DELETE" => Method::Delete,
        "OPTIONS" => Method::Options,
        "PATCH" => Method::Patch,
        other => Method::Other(other.to_owned()),
    }
}

/// Writes the body, unless the answer, which may be an error, is there before its end.
fn write(
    body: OutgoingBody,
    mut bytes: &[u8],
    answer: &FutureIncomingResponse,
    timer: &Pollable,
) -> Result<(), Error> {
    {
        let Ok(stream) = body.write() else { return Ok(()) };
        let room = stream.subscribe();
        let answered = answer.subscribe();
        while !bytes.is_empty() {
            match stream.check_write() {
                Ok(0) => {
                    poll(&[&room, &answered, timer]);
                    if answered.ready() {
                        return Ok(());
                    }
                    in_time(timer)?;
                }
                Ok(size) => {
                    let (now, later) = bytes.split_at(bytes.len().min(size as usize));
                    if stream.write(now).is_err() {
                        return Ok(());
                    }
                    bytes = later;
                }
                // What went wrong is what the answer says.
                Err(_) => return Ok(()),
            }
        }
    }
    OutgoingBody::finish(body, None).map_err(failure)
}

fn wait(answer: &FutureIncomingResponse, timer: &Pollable) -> Result<IncomingResponse, Error> {
    let answered = answer.subscribe();
    poll(&[&answered, timer]);
    match answer.get() {
        Some(Ok(answer)) => answer.map_err(failure),
        Some(Err(())) => Err(Error::Failed("the answer was taken already".into())),
        None => Err(Error::Timeout),
    }
}

fn read(incoming: IncomingResponse, timer: &Pollable) -> Result<Response, Error> {
    let status = incoming.status();
    let headers = incoming.headers().entries();
    let headers = headers
        .into_iter()
        .map(|(name, value)| (name, String::from_utf8_lossy(&value).into_owned()))
        .collect();
    let gone = |()| Error::Failed("the answer has no body to read".into());
    let source: IncomingBody = incoming.consume().map_err(gone)?;
    let stream = source.stream().map_err(gone)?;
    let more = stream.subscribe();
    let mut body = Vec::new();
    loop {
        match stream.read(PIECE) {
            Ok(piece) if piece.is_empty() => {
                poll(&[&more, timer]);
                in_time(timer)?;
            }
            Ok(piece) => body.extend(piece),
            Err(StreamError::Closed) => return Ok(Response { status, headers, body }),
            Err(StreamError::LastOperationFailed(error)) => {
                return Err(match http_error_code(&error) {
                    Some(code) => failure(code),
                    None => Error::Failed(error.to_debug_string()),
                });
            }
        }
    }
}

fn in_time(timer: &Pollable) -> Result<(), Error> {
    if timer.ready() { Err(Error::Timeout) } else { Ok(()) }
}

fn failure(code: ErrorCode) -> Error {
    match code {
        ErrorCode::HttpRequestDenied => {
            Error::Denied("[capabilities] http of the sidecar does not grant this host".into())
        }
        ErrorCode::DestinationIpProhibited => Error::Denied(
            "the name resolves to an address that [capabilities] http does not grant".into(),
        ),
        ErrorCode::HttpRequestUriInvalid | ErrorCode::HttpRequestMethodInvalid => {
            Error::Invalid(name(&code))
        }
        ErrorCode::ConnectionTimeout
        | ErrorCode::ConnectionReadTimeout
        | ErrorCode::HttpResponseTimeout => Error::Timeout,
        ErrorCode::InternalError(Some(text)) => Error::Failed(text),
        code => Error::Failed(name(&code)),
    }
}

/// What the contract calls it.
fn name(code: &ErrorCode) -> String {
    let name = format!("{code:?}");
    name.strip_prefix("ErrorCode::").unwrap_or(&name).to_owned()
}

fn nanos(time: Duration) -> u64 {
    time.as_nanos().try_into().unwrap_or(u64::MAX)
}
