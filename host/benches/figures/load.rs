//! The other process of the HTTP rows: requests that were made before the clock starts, over plain
//! connections, so that the load costs as little as possible of the machine that it shares.

use std::time::{Duration, Instant};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use crate::{events::Source, table::quantile};

/// `load one ADDRESS CONNECTIONS REQUESTS` or `load lines ADDRESS EVENTS`; prints the seconds that it
/// took. `load paced ADDRESS SECONDS` prints the 99th percentile of its requests' times in
/// milliseconds.
pub fn main(arguments: &[String]) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let number = |at: usize| arguments[at].parse::<usize>().unwrap();
    let seconds = match arguments[0].as_str() {
        "one" => runtime.block_on(one(&arguments[1], number(2), number(3))),
        "lines" => runtime.block_on(lines(&arguments[1], number(2), number(3))),
        "paced" => runtime.block_on(paced(&arguments[1], number(2))),
        "streams" => runtime.block_on(streams(&arguments[1], number(2), number(3))),
        other => panic!("no such load: {other}"),
    };
    println!("{seconds}");
}

/// One event a request, one request after the other on each connection.
async fn one(address: &str, connections: usize, requests: usize) -> f64 {
    let mut source = Source::new();
    let mut work = Vec::new();
    for _ in 0..connections {
        work.push((TcpStream::connect(address).await.unwrap(), Vec::new()));
    }
    // In turn, as they were made: senders share a clock.
    for number in 0..requests / connections * connections {
        work[number % connections].1.push(request(address, &source.json()));
    }
    let begun = Instant::now();
    let tasks: Vec<_> = work
        .into_iter()
        .map(|(mut stream, bodies)| {
            tokio::spawn(async move {
                stream.set_nodelay(true).unwrap();
                let mut buffer = vec![0; 4096];
                for body in bodies {
                    stream.write_all(&body).await.unwrap();
                    answer(&mut stream, &mut buffer).await;
                }
            })
        })
        .collect();
    for task in tasks {
        task.await.unwrap();
    }
    begun.elapsed().as_secs_f64()
}

/// One event a request, a thousand a second on one connection, whether the one before took long or
/// not.
async fn paced(address: &str, seconds: usize) -> f64 {
    let mut source = Source::new();
    let bodies: Vec<_> = (0..seconds * 1000).map(|_| request(address, &source.json())).collect();
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.set_nodelay(true).unwrap();
    let mut clock = tokio::time::interval(Duration::from_millis(1));
    let mut buffer = vec![0; 4096];
    let mut times = Vec::with_capacity(bodies.len());
    for body in bodies {
        // A request that has to wait for the one before is late from then on.
        let due = clock.tick().await;
        stream.write_all(&body).await.unwrap();
        answer(&mut stream, &mut buffer).await;
        times.push(due.elapsed().as_secs_f64() * 1000.0);
    }
    quantile(&mut times, 0.99)
}

fn request(address: &str, body: &str) -> Vec<u8> {
    format!(
        "POST /v1/events HTTP/1.1\r\nhost: {address}\r\ncontent-type: application/json\r\n\
         content-length: {}\r\n\r\n{body}",
        body.len()
    )
    .into_bytes()
}

/// Reads one answer, which has to be a good one.
async fn answer(stream: &mut TcpStream, buffer: &mut [u8]) {
    let mut length = 0;
    loop {
        let read = stream.read(&mut buffer[length..]).await.unwrap();
        assert!(read > 0, "the server broke off");
        length += read;
        let text = &buffer[..length];
        let Some(head) = text.windows(4).position(|w| w == b"\r\n\r\n") else { continue };
        let headers = std::str::from_utf8(&text[..head]).unwrap();
        assert!(headers.starts_with("HTTP/1.1 20"), "{headers}");
        let body: usize = headers
            .lines()
            .find_map(|line| line.strip_prefix("content-length: "))
            .unwrap()
            .parse()
            .unwrap();
        if length >= head + 4 + body {
            return;
        }
    }
}

/// All events in one body of lines, with `data` of at least so many bytes.
async fn lines(address: &str, events: usize, data_bytes: usize) -> f64 {
    let mut source = Source::sized(data_bytes);
    let body: String = (0..events).map(|_| source.json() + "\n").collect();
    let head = format!(
        "POST /v1/events HTTP/1.1\r\nhost: {address}\r\ncontent-type: application/x-ndjson\r\n\
         content-length: {}\r\nconnection: close\r\n\r\n",
        body.len()
    );
    let stream = TcpStream::connect(address).await.unwrap();
    let (mut reader, mut writer) = stream.into_split();
    let begun = Instant::now();
    let sender = tokio::spawn(async move {
        writer.write_all(head.as_bytes()).await.unwrap();
        writer.write_all(body.as_bytes()).await.unwrap();
        writer
    });
    let mut answer = Vec::new();
    reader.read_to_end(&mut answer).await.unwrap();
    let took = begun.elapsed().as_secs_f64();
    drop(sender.await.unwrap());
    let text = unchunked(&answer);
    assert_eq!(text.matches("\"accepted\"").count(), events, "{}", &text[..200.min(text.len())]);
    took
}

/// Lines from one sender, until each of so many SSE streams has got all of them.
async fn streams(address: &str, readers: usize, events: usize) -> f64 {
    let mut streams = Vec::new();
    for _ in 0..readers {
        let mut stream = TcpStream::connect(address).await.unwrap();
        let request = format!("GET /v1/events/stream HTTP/1.1\r\nhost: {address}\r\n\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut head = [0; 1024];
        let read = stream.read(&mut head).await.unwrap();
        assert!(head[..read].starts_with(b"HTTP/1.1 200"));
        streams.push(stream);
    }
    let begun = Instant::now();
    let readers: Vec<_> =
        streams.into_iter().map(|stream| tokio::spawn(receive(stream, events))).collect();
    lines(address, events, 0).await;
    for reader in readers {
        reader.await.unwrap();
    }
    begun.elapsed().as_secs_f64()
}

/// Returns once so many events have come.
async fn receive(mut stream: TcpStream, events: usize) {
    const MARK: &[u8] = b"\ndata: ";
    let mut buffer = vec![0; 64 << 10];
    let mut kept = 0;
    let mut seen = 0;
    while seen < events {
        let read = stream.read(&mut buffer[kept..]).await.unwrap();
        assert!(read > 0, "the stream ended after {seen} events");
        let length = kept + read;
        seen += memchr::memmem::find_iter(&buffer[..length], MARK).count();
        // A mark may lie across two reads.
        kept = length.min(MARK.len() - 1);
        buffer.copy_within(length - kept..length, 0);
    }
    assert_eq!(seen, events, "events of a stream");
}

/// The body of an answer: whole, or in chunks, each after a line with its length in hexadecimal.
fn unchunked(answer: &[u8]) -> String {
    let text = std::str::from_utf8(answer).unwrap();
    let (head, mut rest) = text.split_once("\r\n\r\n").unwrap();
    assert!(head.starts_with("HTTP/1.1 200"), "{head}");
    if head.contains("content-length: ") {
        return rest.to_owned();
    }
    assert!(head.contains("transfer-encoding: chunked"), "{head}");
    let mut body = String::new();
    loop {
        let (length, after) = rest.split_once("\r\n").unwrap();
        let length = usize::from_str_radix(length, 16).unwrap();
        if length == 0 {
            return body;
        }
        body.push_str(&after[..length]);
        rest = &after[length + 2..];
    }
}
