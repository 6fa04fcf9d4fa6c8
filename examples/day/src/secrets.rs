//! Leaked secrets, for a redacting plugin to find: right in shape, obviously fake, granting nothing.
//!
//! Each is put together from parts, so that no scanner takes this source for a leak. They are put
//! where they leak in life: a shell command in a message, the output of a tool deep in `data`, the
//! log of a CI job.

use std::collections::HashMap;

use crate::dice::{Dice, stream};
use crate::event::{Data, Draft, Kind};

/// Every kind leaks this often, each time in another place.
const LEAKS_OF_EACH: usize = 2;

#[derive(Clone, Copy)]
enum Place {
    Message,
    ToolOutput,
    CiLog,
}

const PLACES: [Place; 3] = [Place::Message, Place::ToolOutput, Place::CiLog];

/// One fake of each kind, as the text around it would have it.
fn fakes() -> Vec<String> {
    let digits = "0".repeat(12);
    let token = ["FAKE", "fake", "0000"].concat();
    let jwt = [
        ["eyJhbGciOiJub25lIiwi", "dHlwIjoiSldUIn0"].concat(), // {"alg":"none","typ":"JWT"}
        ["eyJzdWIiOiJmYWtlIiwi", "bm90ZSI6Im5vdCBhIHNlY3JldCJ9"].concat(), // "not a secret"
        token.repeat(3),
    ]
    .join(".");
    vec![
        ["AWS_ACCESS_KEY_ID=", "AKIA", "IOSFODNN7", "EXAMPLE"].concat(),
        ["aws_secret_access_key=", "wJalrXUtnFEMI", "/K7MDENG/", "bPxRfiCY", "EXAMPLEKEY"].concat(),
        ["GITHUB_TOKEN=", "gh", "p_", &token.repeat(3)].concat(),
        ["SLACK_TOKEN=", "xo", "xb-", &digits, "-", &digits, "-", &token.repeat(2)].concat(),
        ["session=", &jwt].concat(),
        ["Authorization: Bea", "rer ", &token.repeat(3)].concat(),
        ["postgres", "://app:", "not-a-real-pass", "@db.example:5432/app"].concat(),
        [
            "-----BEGIN ",
            "RSA PRIVATE ",
            "KEY-----\n",
            &token.repeat(5),
            "\n-----END ",
            "RSA PRIVATE ",
            "KEY-----",
        ]
        .concat(),
    ]
}

/// Puts each fake into events of the day, spread over it.
pub(crate) fn leak(seed: u64, drafts: &mut [Draft]) {
    let mut dice = Dice::new(seed, stream::SECRETS);
    let fakes = fakes();
    let wanted = fakes.len() * LEAKS_OF_EACH;
    let mut spoilt = Vec::new();
    for turn in 0..wanted {
        let kind = turn % fakes.len();
        let round = turn / fakes.len();
        let places = PLACES.iter().cycle().skip(kind + round);
        let (Some(fake), Some(place)) = (fakes.get(kind), places.copied().next()) else {
            continue;
        };
        // Candidates that carry no secret yet and are in no burst: a count of leaks stays a count.
        let fit: Vec<usize> =
            candidates(drafts, place).into_iter().filter(|index| !spoilt.contains(index)).collect();
        // The turn-th stretch of the day, so that the leaks do not cluster.
        let stretch = fit.len() / wanted;
        let chosen = stretch * turn + dice.index(stretch);
        let Some(draft) = fit.get(chosen).and_then(|index| {
            spoilt.push(*index);
            drafts.get_mut(*index)
        }) else {
            continue;
        };
        spill(draft, place, fake);
    }
}

fn candidates(drafts: &[Draft], place: Place) -> Vec<usize> {
    let wanted = match place {
        Place::Message | Place::ToolOutput => Kind::ActivityChanged,
        Place::CiLog => Kind::CiFailing,
    };
    let mut told: HashMap<(&str, &str), usize> = HashMap::new();
    for draft in drafts {
        *told.entry((&draft.session, &draft.message)).or_default() += 1;
    }
    let once = |draft: &Draft| told.get(&(&*draft.session, &*draft.message)) == Some(&1);
    drafts
        .iter()
        .enumerate()
        .filter(|(_, draft)| draft.kind == wanted && once(draft))
        .map(|(index, _)| index)
        .collect()
}

fn spill(draft: &mut Draft, place: Place, fake: &str) {
    match place {
        Place::Message => draft.message = format!("running `export {fake}`"),
        Place::ToolOutput => {
            let output = vec!["$ env | sort".to_owned(), fake.to_owned(), "$".to_owned()];
            let tool = Data::default().with("name", "shell").with("output", output);
            let data = std::mem::take(&mut draft.data);
            draft.data = data.with("tool", tool);
        }
        Place::CiLog => {
            if let Some(log) = draft.data.text_mut("log") {
                *log = format!("+ {fake}\n{log}");
            }
        }
    }
}
