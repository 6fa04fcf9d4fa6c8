//! Posts events to a webhook that takes Slack's JSON.
//!
//! `template` makes the text, `retry_after` reads when a server wants to be asked again; this file
//! decides what an answer means. The URL of a webhook is a secret: it is in no message.

mod retry_after;
mod template;

use std::time::Duration;

use ennio_plugin::http::{self, Error, Response};
use ennio_plugin::{Delivery, Description, Failure, Outcome, Plugin, Reaction, log};
use serde::Deserialize;
use serde_json::json;

use crate::retry_after::retry_after;
use crate::template::Template;

/// What of a server's answer is told with a failure, in characters.
const TOLD: usize = 200;

/// The sidecar's `[config]`; `notify-webhook.toml` tells what each key means.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Config {
    url: String,
    text: String,
    channel: String,
    timeout_ms: u64,
}

impl Default for Config {
    fn default() -> Self {
        Config {
            url: String::new(),
            text: "*{priority}* {event_type} in {project_id} ({session_id}): {message}".into(),
            channel: String::new(),
            timeout_ms: 5_000,
        }
    }
}

struct NotifyWebhook {
    url: String,
    template: Template,
    channel: Option<String>,
    timeout: Duration,
}

impl Plugin for NotifyWebhook {
    type Config = Config;

    fn description() -> Description {
        Description::new(env!("CARGO_PKG_VERSION"), "posts events to a Slack-style webhook")
    }

    fn configure(config: Config) -> Result<Self, String> {
        if config.url.is_empty() {
            log::warn("config.url is empty: nothing is posted");
        } else if !config.url.starts_with("https://") && !config.url.starts_with("http://") {
            return Err("config.url does not begin with https:// or http://".into());
        }
        if !(1..=9_000).contains(&config.timeout_ms) {
            return Err(format!("config.timeout_ms is {}, not 1 to 9000", config.timeout_ms));
        }
        let template =
            Template::parse(&config.text).map_err(|problem| format!("config.text {problem}"))?;
        Ok(NotifyWebhook {
            url: config.url,
            template,
            channel: Some(config.channel).filter(|channel| !channel.is_empty()),
            timeout: Duration::from_millis(config.timeout_ms),
        })
    }
}

impl Reaction for NotifyWebhook {
    fn react(&mut self, delivery: &Delivery) -> Outcome {
        if self.url.is_empty() {
            return Ok(vec![]);
        }
        let event = &delivery.event;
        let text = self.template.render(event);
        let body = match &self.channel {
            Some(channel) => json!({"text": text, "channel": channel}),
            None => json!({"text": text}),
        };
        let answer = http::post(&self.url)
            .header("idempotency-key", &event.id)
            .header("user-agent", concat!("ennio-notify-webhook/", env!("CARGO_PKG_VERSION")))
            .timeout(self.timeout)
            .json(&body)
            .send();
        match answer {
            Ok(answer) if answer.is_success() => Ok(vec![]),
            Ok(answer) => Err(refused(&answer)),
            Err(error @ (Error::Denied(_) | Error::Invalid(_))) => {
                Err(Failure::fatal(error.to_string()))
            }
            Err(error) => Err(Failure::retry(error.to_string())),
        }
    }
}

fn refused(answer: &Response) -> Failure {
    let status = answer.status;
    let told: String = answer.text().trim().chars().take(TOLD).collect();
    let reason = match told.is_empty() {
        true => format!("the webhook answered {status}"),
        false => format!("the webhook answered {status}: {told}"),
    };
    match status {
        408 | 429 | 500..=599 => {
            let failure = Failure::retry(reason);
            match retry_after(answer) {
                Some(delay) => failure.after(delay),
                None => failure,
            }
        }
        _ => Failure::fatal(reason),
    }
}

ennio_plugin::export!(NotifyWebhook: reaction);

#[cfg(test)]
mod tests {
    use std::cell::RefCell;
    use std::rc::Rc;

    use ennio_plugin::testing::{self, event};
    use serde_json::Value;

    use super::*;

    const URL: &str = "https://hooks.test/services/secret";

    fn configured(config: Value) -> NotifyWebhook {
        testing::configure(config).unwrap()
    }

    /// What becomes of an event when the server answers like this.
    fn outcome(answer: Result<Response, Error>) -> Outcome {
        let mut plugin = configured(json!({"url": URL}));
        testing::http(move |_| answer.clone());
        testing::react(&mut plugin, &[event("ci_failing").build()]).remove(0)
    }

    #[test]
    fn the_shipped_sidecar_is_the_default_configuration() {
        let sidecar: toml::Table = toml::from_str(include_str!("../notify-webhook.toml")).unwrap();
        let shipped: Config = sidecar["config"].clone().try_into().unwrap();
        assert_eq!(shipped, Config::default());
    }

    #[test]
    fn an_event_is_posted_with_its_id_as_the_key() {
        let seen = Rc::new(RefCell::new(Vec::new()));
        let server = Rc::clone(&seen);
        testing::http(move |request| {
            server.borrow_mut().push(request.clone());
            Ok(Response::new(200))
        });
        let event = event("ci_failing").message("a < b").build();
        let mut plugin = configured(json!({"url": URL, "text": "{message}", "channel": "#ci"}));
        assert_eq!(testing::react(&mut plugin, std::slice::from_ref(&event)), [Ok(vec![])]);

        let requests = seen.borrow();
        let [request] = requests.as_slice() else { panic!("{requests:?}") };
        assert_eq!((request.method.as_str(), request.url.as_str()), ("POST", URL));
        assert!(request.headers.contains(&("idempotency-key".into(), event.id.clone())));
        let body: Value = serde_json::from_slice(&request.body).unwrap();
        assert_eq!(body, json!({"text": "a &lt; b", "channel": "#ci"}));
    }

    #[test]
    fn any_success_is_enough() {
        for status in [200, 201, 204] {
            assert_eq!(outcome(Ok(Response::new(status))), Ok(vec![]), "{status}");
        }
    }

    #[test]
    fn what_may_pass_is_tried_again() {
        for status in [408, 429, 500, 502, 503, 599] {
            let failure = outcome(Ok(Response::new(status))).unwrap_err();
            assert_eq!(failure, Failure::retry(format!("the webhook answered {status}")));
        }
        for error in [Error::Timeout, Error::Failed("ConnectionRefused".into())] {
            let failure = outcome(Err(error.clone())).unwrap_err();
            assert_eq!(failure, Failure::retry(error.to_string()));
        }
    }

    #[test]
    fn what_would_fail_again_is_given_up() {
        for status in [301, 400, 403, 404, 410] {
            let answer = Response::new(status).with_body("no_service\n");
            let failure = outcome(Ok(answer)).unwrap_err();
            let reason = format!("the webhook answered {status}: no_service");
            assert_eq!(failure, Failure::fatal(reason));
        }
        let failure = outcome(Err(Error::Denied("not granted".into()))).unwrap_err();
        assert_eq!(failure, Failure::fatal("denied: not granted"));
    }

    #[test]
    fn a_server_says_when() {
        let answer = Response::new(429).with_header("Retry-After", "30");
        let expected = Failure::retry("the webhook answered 429").after(Duration::from_secs(30));
        assert_eq!(outcome(Ok(answer)), Err(expected));
    }

    #[test]
    fn without_a_url_nothing_is_posted() {
        testing::logged();
        let mut plugin = configured(json!({}));
        assert_eq!(testing::logged().len(), 1);
        testing::http(|_| panic!("nothing is to be posted"));
        assert_eq!(testing::react(&mut plugin, &[event("ci_failing").build()]), [Ok(vec![])]);
    }

    #[test]
    fn a_configuration_that_can_not_work_is_refused() {
        for (config, expected) in [
            (json!({"url": "hooks.test"}), "config.url does not begin with https:// or http://"),
            (json!({"url": URL, "timeout_ms": 0}), "config.timeout_ms is 0, not 1 to 9000"),
            (
                json!({"url": URL, "text": "{"}),
                "config.text has a brace without its other half ({{ and }} are plain braces)",
            ),
            (json!({"ulr": URL}), "ulr is not a key of this plugin (did you mean url?)"),
        ] {
            let error = testing::configure::<NotifyWebhook>(config).err().unwrap();
            assert_eq!(error, expected);
            assert!(!error.contains("secret"));
        }
    }
}
