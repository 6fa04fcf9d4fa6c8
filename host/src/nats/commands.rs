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
use tracing::{debug, info, warn};

use super::{
    NatsOptions, Prefix,
    connection::{Connection, Heard},
    retry::End,
    service::{Service, Session, Stop, asked_to_stop},
};
use crate::control::{Command, CommandName, Control, ControlError, Origin};

/// The running listener.
pub struct CommandListener(Service);

struct Listener {
    prefix: Prefix,
    allowed: Vec<CommandName>,
    control: Arc<dyn Control>,
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
        let listener = Listener { prefix: options.prefix.clone(), allowed, control };
        Self(Service::spawn(options, listener))
    }

    /// Ends after the command that is under way.
    pub async fn stop(self) {
        self.0.stop().await;
    }
}

impl Session for Listener {
    const NAME: &'static str = "ennio commands";

    async fn run(&mut self, mut connection: Connection, stop: &mut Stop) -> (End, bool) {
        let before = |e: &dyn std::fmt::Display| (End::Lost(e.to_string()), false);
        let client = connection.client().clone();
        let subject = format!("{}.commands.*", self.prefix);
        let mut commands = match client.subscribe(subject.clone()).await {
            Ok(commands) => commands,
            Err(e) => return before(&e),
        };
        if let Err(e) = client.flush().await {
            return before(&e);
        }
        let allowed: Vec<_> = self.allowed.iter().map(|name| name.as_str()).collect();
        info!("listening for commands on {subject} (allowed: {})", allowed.join(", "));
        let lost = || (End::Lost("the connection was lost".into()), true);
        loop {
            tokio::select! {
                biased;
                () = asked_to_stop(stop) => return (End::Stopped, true),
                heard = connection.hear() => match heard {
                    Heard::Reply(_) => {}
                    Heard::Complaint(text) => return (End::Held(text), true),
                    Heard::End => return lost(),
                },
                message = commands.next() => match message {
                    Some(message) => self.answer(&client, message).await,
                    None => return lost(),
                },
            }
        }
    }
}

impl Listener {
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
