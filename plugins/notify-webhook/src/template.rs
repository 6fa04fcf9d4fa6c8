//! The text to post: literal text and fields of the event.

use ennio_plugin::Event;

/// A template that was checked.
#[derive(Debug)]
pub(crate) struct Template(Vec<Part>);

#[derive(Debug)]
enum Part {
    Literal(String),
    Field(Field),
}

type Field = fn(&Event) -> String;

const FIELDS: [(&str, Field); 7] = [
    ("id", |event| event.id.clone()),
    ("event_type", |event| event.event_type.clone()),
    ("priority", |event| event.priority.to_string()),
    ("session_id", |event| event.session_id.clone()),
    ("project_id", |event| event.project_id.clone()),
    ("timestamp", |event| event.timestamp.clone()),
    ("message", |event| event.message.clone()),
];

impl Template {
    /// Reads `{field}`; `{{` and `}}` are braces.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let mut parts = Vec::new();
        let mut literal = String::new();
        let mut rest = text;
        while let Some(at) = rest.find(['{', '}']) {
            let (before, from) = rest.split_at(at);
            literal.push_str(before);
            if let Some(after) = from.strip_prefix("{{") {
                literal.push('{');
                rest = after;
            } else if let Some(after) = from.strip_prefix("}}") {
                literal.push('}');
                rest = after;
            } else {
                let field = from.strip_prefix('{').and_then(|from| from.split_once('}'));
                let (name, after) = field.ok_or_else(|| {
                    "has a brace without its other half ({{ and }} are plain braces)".to_owned()
                })?;
                parts.push(Part::Literal(std::mem::take(&mut literal)));
                parts.push(Part::Field(known(name)?));
                rest = after;
            }
        }
        literal.push_str(rest);
        parts.push(Part::Literal(literal));
        Ok(Template(parts))
    }

    /// The text for this event, its fields escaped for Slack.
    pub(crate) fn render(&self, event: &Event) -> String {
        let mut text = String::new();
        for part in &self.0 {
            match part {
                Part::Literal(literal) => text.push_str(literal),
                Part::Field(field) => escape(&field(event), &mut text),
            }
        }
        text
    }
}

fn known(name: &str) -> Result<Field, String> {
    let found = FIELDS.iter().find(|(field, _)| *field == name).map(|(_, field)| *field);
    found.ok_or_else(|| {
        let names: Vec<_> = FIELDS.iter().map(|(field, _)| *field).collect();
        format!("names {{{name}}}, but the fields are {}", names.join(", "))
    })
}

/// Slack reads `<!channel>`, `<@U1>` and `<url|text>` out of a text, and asks for just this escaping.
fn escape(value: &str, into: &mut String) {
    for character in value.chars() {
        match character {
            '&' => into.push_str("&amp;"),
            '<' => into.push_str("&lt;"),
            '>' => into.push_str("&gt;"),
            other => into.push(other),
        }
    }
}

#[cfg(test)]
mod tests {
    use ennio_plugin::Priority;
    use ennio_plugin::testing::event;

    use super::*;

    fn rendered(template: &str) -> String {
        let event = event("ci_failing")
            .id("0190a0b0-0000-7000-8000-000000000001")
            .priority(Priority::Urgent)
            .session("s-7")
            .project("web")
            .message("<!channel> a & b")
            .build();
        Template::parse(template).unwrap().render(&event)
    }

    #[test]
    fn every_field_can_be_named() {
        assert_eq!(
            rendered("{id}|{event_type}|{priority}|{session_id}|{project_id}|{timestamp}"),
            "0190a0b0-0000-7000-8000-000000000001|ci_failing|urgent|s-7|web|\
             2026-08-01T09:30:00.000000Z"
        );
    }

    #[test]
    fn an_event_can_not_mention_anybody() {
        assert_eq!(rendered("<!here> {message}"), "<!here> &lt;!channel&gt; a &amp; b");
    }

    #[test]
    fn doubled_braces_are_braces() {
        assert_eq!(rendered("{{{project_id}}} {{message}}"), "{web} {message}");
    }

    #[test]
    fn a_template_that_can_not_be_meant_is_refused() {
        for template in ["{", "}", "{message", "message}", "{mesage}", "{}", "{data}"] {
            assert!(Template::parse(template).is_err(), "{template}");
        }
        assert_eq!(
            Template::parse("{mesage}").unwrap_err(),
            "names {mesage}, but the fields are id, event_type, priority, session_id, project_id, \
             timestamp, message"
        );
    }
}
