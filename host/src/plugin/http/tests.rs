use std::sync::atomic::AtomicUsize;

use http_body_util::Empty;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpListener,
};

use super::*;
use crate::plugin::capabilities::Denials;

/// A server on a free loopback port that answers one request after another with its own head.
async fn server() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut head = Vec::new();
            while !head.ends_with(b"\r\n\r\n") {
                let Ok(byte) = stream.read_u8().await else { break };
                head.push(byte);
            }
            let answer = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n", head.len());
            stream.write_all(answer.as_bytes()).await.unwrap();
            stream.write_all(&head).await.unwrap();
        }
    });
    address
}

fn http(granted: &[&str], resolve: Resolve) -> Http {
    let granted: Vec<Destination> = granted.iter().map(|text| text.parse().unwrap()).collect();
    let client = Client { resolve, ..Client::new(&granted) };
    let denials = Arc::new(Denials::new("test".parse().unwrap()));
    let mut http = Http::new(Arc::new(client), denials, None);
    http.begin_call(None);
    http
}

fn request(uri: &str) -> Request<Body> {
    let body = Empty::new().map_err(|never| match never {}).boxed_unsync();
    Request::builder().uri(uri).body(body).unwrap()
}

/// What the server was asked, or why it was not.
async fn send(http: &mut Http, uri: &str) -> Result<String, String> {
    let exchange = http.send_request(request(uri), None, Box::new(async { Ok(()) }));
    let (answer, _connection) = Box::into_pin(exchange).await.map_err(|e| e.to_string())?;
    let body = answer.into_body().collect().await.map_err(|e| e.to_string())?;
    Ok(String::from_utf8(body.to_bytes().into()).unwrap())
}

fn to_loopback(_: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
    Ok(vec![([127, 0, 0, 1], port).into()])
}

#[tokio::test]
async fn a_granted_name_that_resolves_to_loopback_is_denied_unless_the_address_is_granted_too() {
    let port = server().await.port();
    let (name, address) = (format!("hooks.test:{port}"), format!("127.0.0.1:{port}"));
    let uri = format!("http://{name}/a?b");

    let mut denied = http(&[&name], to_loopback);
    let error = send(&mut denied, &uri).await.unwrap_err();
    assert_eq!(error, Error::DestinationIpProhibited.to_string());
    assert_eq!(denied.denials.count(), 1);

    let mut granted = http(&[&name, &address], to_loopback);
    let seen = send(&mut granted, &uri).await.unwrap();
    assert!(seen.starts_with("GET /a?b HTTP/1.1\r\n"), "no authority for a server: {seen}");
    assert_eq!(granted.denials.count(), 0);
}

#[tokio::test]
async fn a_name_is_resolved_once_so_a_second_answer_changes_nothing() {
    static ASKED: AtomicUsize = AtomicUsize::new(0);
    fn rebinding(_: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
        let ip = match ASKED.fetch_add(1, Ordering::Relaxed) {
            0 => [127, 0, 0, 1],
            _ => [169, 254, 169, 254],
        };
        Ok(vec![(ip, port).into()])
    }
    let port = server().await.port();
    let (name, address) = (format!("hooks.test:{port}"), format!("127.0.0.1:{port}"));
    let mut http = http(&[&name, &address], rebinding);
    send(&mut http, &format!("http://{name}/")).await.unwrap();
    assert_eq!(ASKED.load(Ordering::Relaxed), 1);
    let error = send(&mut http, &format!("http://{name}/")).await.unwrap_err();
    assert_eq!(error, Error::DestinationIpProhibited.to_string());
}

#[tokio::test]
async fn of_several_addresses_only_those_that_are_admitted_are_tried() {
    fn mixed(_: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
        Ok(vec![([10, 0, 0, 1], port).into(), ([127, 0, 0, 1], port).into()])
    }
    let port = server().await.port();
    let (name, address) = (format!("hooks.test:{port}"), format!("127.0.0.1:{port}"));
    let mut http = http(&[&name, &address], mixed);
    send(&mut http, &format!("http://{name}/")).await.unwrap();
}

#[tokio::test]
async fn the_port_is_that_of_the_scheme_when_none_is_named() {
    for (uri, expected) in [
        ("http://a.test/", "a.test:80"),
        ("https://A.test", "a.test:443"),
        ("https://a.test:80/", "a.test:80"),
        ("http://[::ffff:1.2.3.4]/", "1.2.3.4:80"),
    ] {
        let destination = Client::destination(&uri.parse().unwrap()).unwrap();
        assert_eq!(destination.to_string(), expected, "{uri}");
    }
    for uri in ["/path", "http://a.test@b.test/", "http://a.test:0/"] {
        assert!(Client::destination(&uri.parse().unwrap()).is_err(), "{uri}");
    }
}

#[tokio::test]
async fn some_calls_send_nothing_whatever_is_granted() {
    let address = server().await.to_string();
    let mut http = http(&[&address], to_loopback);
    let uri = format!("http://{address}/");
    http.begin_call(Some("in this test"));
    assert_eq!(send(&mut http, &uri).await, Err(Error::HttpRequestDenied.to_string()));
    assert_eq!(http.denials.count(), 1);
    http.begin_call(None);
    send(&mut http, &uri).await.unwrap();
}

#[tokio::test]
async fn what_a_call_has_not_finished_ends_with_it() {
    let address = server().await.to_string();
    let mut http = http(&[&address], to_loopback);
    let uri = format!("http://{address}/");
    let begin = |http: &mut Http| {
        Box::into_pin(http.send_request(request(&uri), None, Box::new(async { Ok(()) })))
    };
    let waiting = begin(&mut http);
    http.end_call();
    let error = waiting.await.err().map(|e| e.to_string());
    assert_eq!(error, Some(Error::ConnectionTerminated.to_string()));

    http.begin_call(None);
    send(&mut http, &uri).await.unwrap();
}

#[tokio::test]
async fn an_answer_that_a_guest_keeps_beyond_its_call_has_no_connection() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    // Promises more than it sends, and waits.
    let server = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\n").await.unwrap();
        stream.read_to_end(&mut Vec::new()).await
    });
    let mut http = http(&[&address], to_loopback);
    let request = request(&format!("http://{address}/"));
    let exchange = http.send_request(request, None, Box::new(async { Ok(()) }));
    let (answer, _connection) = Box::into_pin(exchange).await.unwrap_or_else(|e| panic!("{e}"));
    http.end_call();
    let patience = Duration::from_secs(60);
    let body = timeout(patience, answer.into_body().collect()).await;
    assert!(body.expect("the body ends").is_err(), "nine bytes never came");
    let left = timeout(patience, server).await;
    assert!(left.is_ok(), "the server sees the connection end");
}

#[tokio::test]
async fn a_call_sends_at_most_so_many_requests() {
    let address = server().await.to_string();
    let mut http = http(&[&address], to_loopback);
    let uri = format!("http://{address}/");
    for _ in 0..REQUESTS_A_CALL {
        send(&mut http, &uri).await.unwrap();
    }
    let error = send(&mut http, &uri).await.unwrap_err();
    assert_eq!(error, Error::ConnectionLimitReached.to_string());
    assert_eq!(http.denials.count(), 0, "a bound is no denial");
}
