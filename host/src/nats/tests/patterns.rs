use std::collections::HashSet;

use proptest::{prelude::*, strategy::ValueTree, test_runner::TestRunner};

use super::*;
use crate::event::{Subject, SubjectPattern};

/// One to five tokens of a small alphabet, so that matches are frequent.
fn subject() -> impl Strategy<Value = String> {
    prop::collection::vec("[abA]|x-1|_", 1..=5).prop_map(|tokens| tokens.join("."))
}

fn pattern() -> impl Strategy<Value = String> {
    let tokens = prop::collection::vec("[abA]|x-1|\\*|\\*|\\*", 0..=4);
    let last = prop_oneof![Just(">"), Just("*"), Just("a"), Just("b"), Just("A"), Just("_")];
    (tokens, last).prop_map(|(mut tokens, last)| {
        tokens.push(last.to_owned());
        tokens.join(".")
    })
}

/// `count` different values.
fn different(strategy: impl Strategy<Value = String>, count: usize) -> Vec<String> {
    let mut runner = TestRunner::default();
    let mut seen = HashSet::new();
    while seen.len() < count {
        seen.insert(strategy.new_tree(&mut runner).unwrap().current());
    }
    seen.into_iter().collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn patterns_choose_exactly_what_a_nats_server_delivers() {
    let server = NatsServer::core();
    let client = connect(&server).await;
    let patterns = different(pattern(), 150);
    let subjects = different(subject(), 300);
    let mut listeners = Vec::new();
    for pattern in &patterns {
        listeners.push(client.subscribe(pattern.clone()).await.unwrap());
    }
    for subject in &subjects {
        client.publish(subject.clone(), "".into()).await.unwrap();
    }
    // One connection: when this has come back, everything before it has been delivered.
    round_trip(&client).await;
    let mut matches = 0;
    for (pattern, listener) in patterns.iter().zip(&mut listeners) {
        let mut delivered = HashSet::new();
        while let Some(message) = waiting(listener) {
            assert!(delivered.insert(message.subject.to_string()), "delivered once");
        }
        let ours: SubjectPattern = pattern.parse().unwrap();
        for subject in &subjects {
            let parsed: Subject = subject.parse().unwrap();
            let expected = delivered.contains(subject);
            assert_eq!(ours.matches(&parsed), expected, "{pattern} {subject}");
            matches += usize::from(expected);
        }
    }
    assert!(matches > 1000, "only {matches} of 45 000 pairs match");
}
