//! Ennio inside another program: one event is published, a subscriber sees it, the log is asked.
//!
//! Run it with `cargo run -p ennio-embedding`.

use ennio::{
    event::{Draft, EventPriority, EventType},
    host::Host,
    store::Query,
};

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let host = Host::builder(folder.path().join("ennio.db")).start().await?;

    let mut failing = host.bus().subscribe(EventType::CiFailing);
    let mut event = Draft::new(EventType::CiFailing, "atlas".parse()?, "session-7".parse()?);
    event.priority = Some(EventPriority::Urgent);
    event.message = Some("CI failing on main: test cart::rounds_half_up".parse()?);

    let receipt = host.publish(event).await?;
    println!("accepted as {} at seq {}: it is on disk", receipt.id, receipt.seq);

    let entry = failing.next().await?;
    println!("subscriber saw {} on {}", entry.event.message.as_str(), entry.subject);

    let page = host.log().page(Query::default(), 10).await?;
    println!("the log holds {} event", page.entries.len());

    host.shutdown().await;
    Ok(())
}
