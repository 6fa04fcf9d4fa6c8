//! The client's side of the API.

use reqwest::{Client, Response};
use serde_json::{Value, json};

use super::{Host, eventually};

/// An event of what has no default.
pub fn event(event_type: &str) -> Value {
    json!({"event_type": event_type, "session_id": "s-1", "project_id": "atlas"})
}

/// An event that can be recognised: with an id, and its number in its data.
pub fn numbered(number: usize) -> Value {
    json!({
        "id": uuid::Uuid::now_v7(),
        "event_type": "activity_changed",
        "session_id": format!("s-{}", number % 7),
        "project_id": "atlas",
        "message": format!("event {number}"),
        "data": {"n": number},
    })
}

impl Host {
    pub async fn post(&self, content_type: &str, body: impl Into<reqwest::Body>) -> Response {
        let request = Client::new().post(format!("{}/v1/events", self.url));
        request.header("content-type", content_type).body(body).send().await.unwrap()
    }

    /// Publishes one event; its status and its answer.
    pub async fn publish(&self, event: &Value) -> (u16, Value) {
        answer(self.post("application/json", event.to_string()).await).await
    }

    /// Publishes lines; the outcome of each.
    pub async fn publish_lines(&self, events: &[Value]) -> Vec<Value> {
        let body: String = events.iter().map(|event| format!("{event}\n")).collect();
        let (status, mut answer) = answer(self.post("application/x-ndjson", body).await).await;
        assert_eq!(status, 200, "{answer}");
        serde_json::from_value(answer["results"].take()).unwrap()
    }

    pub async fn get(&self, path: &str) -> (u16, Value) {
        answer(reqwest::get(format!("{}{path}", self.url)).await.unwrap()).await
    }

    /// The whole log, hidden events too, page by page.
    pub async fn log(&self) -> Vec<Value> {
        let mut log = Vec::new();
        let mut after = 0;
        loop {
            let path = format!("/v1/events?include_dropped=true&limit=500&after_seq={after}");
            let (status, mut page) = self.get(&path).await;
            assert_eq!(status, 200, "{page}");
            log.extend(serde_json::from_value::<Vec<Value>>(page["events"].take()).unwrap());
            match page["next"].as_u64() {
                Some(next) => after = next,
                None => return log,
            }
        }
    }

    /// One plugin's status, if it is known.
    pub async fn plugin(&self, name: &str) -> Option<Value> {
        let (_, plugins) = self.get("/v1/plugins").await;
        let plugins = plugins["plugins"].as_array().unwrap();
        plugins.iter().find(|plugin| plugin["name"] == name).cloned()
    }

    /// Has something done with a plugin: `reload`, `rollback`, `enable` or `disable`.
    pub async fn order(&self, plugin: &str, command: &str) -> (u16, Value) {
        let url = format!("{}/v1/plugins/{plugin}/{command}", self.url);
        answer(Client::new().post(url).send().await.unwrap()).await
    }

    /// Waits until a plugin's status is as wanted.
    pub async fn plugin_where(
        &self,
        name: &str,
        what: &str,
        wanted: impl Fn(&Value) -> bool,
    ) -> Value {
        eventually(what, async || self.plugin(name).await.filter(|plugin| wanted(plugin))).await
    }

    /// Waits until every reaction has seen the whole log and nothing waits to be tried again, and the
    /// log has stopped growing.
    pub async fn settled(&self) {
        eventually("every reaction at the head of the log", async || {
            let (_, before) = self.get("/v1/status").await;
            let (_, plugins) = self.get("/v1/plugins").await;
            let (_, after) = self.get("/v1/status").await;
            let head = before["head"].as_u64().unwrap();
            let reactions = plugins["plugins"].as_array().unwrap().iter().filter(|plugin| {
                plugin["roles"].as_array().unwrap().iter().any(|role| role == "reaction")
            });
            let caught_up = reactions
                .map(|plugin| (plugin["cursor"].as_u64(), plugin["waiting"].as_u64()))
                .all(|found| found == (Some(head), Some(0)));
            (caught_up && after["head"] == before["head"]).then_some(())
        })
        .await;
    }
}

async fn answer(response: Response) -> (u16, Value) {
    let status = response.status().as_u16();
    let text = response.text().await.unwrap();
    let value = serde_json::from_str(&text).unwrap_or(Value::String(text));
    (status, value)
}
