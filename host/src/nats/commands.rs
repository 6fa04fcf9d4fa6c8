//! Commands to the host over NATS: `<prefix>.commands.<command>`, a JSON object like
//! `{"plugin":"noise"}` or nothing as the body, answered when there is a reply subject.
//!
//! What a server lets through is not enough: only the commands that the host's own configuration
//! allows are carried out, one after the other, in the order of their arrival. A connection of its
//! own, so that a refusal of one never holds up the other.

use std::sync::Arc;

use async_nats::Client;
use bytes::Bytes;
use futures::StreamExt as _;
use serde::Deserialize;
use serde_json::json;
use tokio::{sync::watch, task::JoinHandle};
use tracing::{debug, info, warn};

use super::{
    NatsOptions,
    connection::{Connection, Heard},
    retry::{End, Retry},
};
use crate::control::{Command, CommandName, Control, ControlError, Origin};

/// The running listener.
pub struct CommandListener {
    stop: watch::Sender<bool>,
    task: JoinHandle<()>,
}

struct Listener {
    options: NatsOptions,
    allowed: Vec<CommandName>,
    control: Arc<dyn Control>,
    stop: watch::Receiver<bool>,
}

/// What a message may say.
#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields)]
struct Body {
    plugin: Option<String>,
}

impl CommandListener {
    /// Listens for commands, and has `control` carry out those that are `allowed`. Returns at once,
    /// with the server away or not.
    ///
    /// # Panics
    /// Outside of a Tokio runtime.
    pub fn spawn(
        options: NatsOptions,
        allowed: Vec<CommandName>,
        control: Arc<dyn Control>,
    ) -> Self {
        let (stop, stopped) = watch::channel(false);
        let listener = Listener { options, allowed, control, stop: stopped };
        Self { stop, task: tokio::spawn(listener.run()) }
    }

    /// Ends after the command that is under way.
    pub async fn stop(self) {
        self.stop.send_replace(true);
        if let Err(e) = self.task.await {
            warn!("the NATS command listener ended badly: {e}");
        }
    }
}

impl Listener {
    async fn run(self) {
        let mut stop = self.stop.clone();
        let mut retry = Retry::new();
        for attempt in 0.. {
            let (end, listened) = match self.listen(attempt, &mut stop).await {
                Ok(never) => match never {},
                Err(ended) => ended,
            };
            // The publisher says at `warn` that the server is away.
            if let End::Lost(reason) = &end {
                debug!("NATS commands: {reason}");
            }
            if let End::Held(reason) = &end {
                warn!("NATS commands: {reason}");
            }
            let Some(wait) = retry.after(&end, listened) else { return };
            tokio::select! {
                biased;
                () = asked_to_stop(&mut stop) => return,
                () = tokio::time::sleep(wait) => {}
            }
        }
    }

    /// One connection's life. `Err` with how it ended, and whether it ever listened.
    async fn listen(
        &self,
        attempt: usize,
        stop: &mut watch::Receiver<bool>,
    ) -> Result<std::convert::Infallible, (End, bool)> {
        let before = |reason: String| (End::Lost(reason), false);
        let mut connection = tokio::select! {
            biased;
            () = asked_to_stop(stop) => return Err((End::Stopped, false)),
            opened = Connection::open(&self.options, attempt, "ennio commands") => {
                opened.map_err(|e| before(e.to_string()))?
            }
        };
        let client = connection.client().clone();
        let subject = format!("{}.commands.*", self.options.prefix);
        let commands = client.subscribe(subject.clone()).await;
        let mut commands = commands.map_err(|e| before(e.to_string()))?;
        client.flush().await.map_err(|e| before(e.to_string()))?;
        let allowed: Vec<_> = self.allowed.iter().map(|name| name.as_str()).collect();
        info!("listening for commands on {subject} (allowed: {})", allowed.join(", "));
        loop {
            tokio::select! {
                biased;
                () = asked_to_stop(stop) => return Err((End::Stopped, true)),
                heard = connection.hear() => match heard {
                    Heard::Reply(_) => {}
                    Heard::Complaint(text) => return Err((End::Held(text), true)),
                    Heard::End => return Err((End::Lost("the connection was lost".into()), true)),
                },
                message = commands.next() => match message {
                    Some(message) => self.answer(&client, message).await,
                    None => return Err((End::Lost("the connection was lost".into()), true)),
                },
            }
        }
    }

    async fn answer(&self, client: &Client, message: async_nats::Message) {
        let name = message.subject.rsplit('.').next().unwrap_or_default();
        let result = match self.parse(name, &message.payload) {
            Ok(command) => self.control.execute(Origin::Nats, command).await,
            Err(e) => {
                warn!("command from {} refused: {e}", Origin::Nats);
                Err(e)
            }
        };
        let Some(reply) = message.reply else { return };
        let answer = match result {
            Ok(result) => json!({"ok": true, "result": result}),
            Err(e) => json!({"ok": false, "error": e.to_string()}),
        };
        let sent = client.publish(reply, Bytes::from(answer.to_string())).await;
        // Whoever gave the command may have gone; it is carried out all the same.
        if let Err(e) = sent {
            debug!("the answer to a command was not sent: {e}");
        }
        if let Err(e) = client.flush().await {
            debug!("the answer to a command was not sent: {e}");
        }
    }

    fn parse(&self, name: &str, payload: &[u8]) -> Result<Command, ControlError> {
        let name: CommandName = name.parse()?;
        if !self.allowed.contains(&name) {
            return Err(ControlError::NotAllowed(format!(
                "{name} is not allowed over NATS (add it to `commands` in [nats])"
            )));
        }
        let body: Body = match payload.trim_ascii() {
            [] => Body::default(),
            json => serde_json::from_slice(json)
                .map_err(|e| ControlError::Invalid(format!("the body of {name}: {e}")))?,
        };
        Command::new(name, body.plugin.as_deref())
    }
}

/// Whoever forgets the listener has stopped it as well.
async fn asked_to_stop(stop: &mut watch::Receiver<bool>) {
    let _ = stop.wait_for(|stop| *stop).await;
}
