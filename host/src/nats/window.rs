//! What was sent and not yet confirmed, in the order of the log. Plain bookkeeping: the time is an
//! argument, and nothing here waits.
//!
//! An event that a stream covers is confirmed by the stream's answer to it. All others are
//! confirmed by a *marker*: a message that the publisher sends to itself behind them, which can
//! only come back after the server has read all that was sent before it. The cursor stands before
//! the oldest event without a confirmation.

use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

use crate::{event::Seq, store::Place};

/// Events under way at most. More does not make a stream faster.
const MAX_EVENTS: usize = 256;

/// Bytes under way at most; the next event waits once they are more. Events are at most some
/// 270 KiB each, so without it a window of large ones would hold 70 MB.
const MAX_BYTES: usize = 8 << 20;

/// Events behind the last marker before another is due, so that confirmations come while the
/// window is still half full.
const MARK_EVERY: usize = MAX_EVENTS / 4;

/// How long a confirmation may take; then the connection or the stream counts as broken. A stream that
/// syncs each write to a slow disk needs well below a second.
pub(super) const CONFIRM_WITHIN: Duration = Duration::from_secs(10);

/// How long a stream that owes an answer may give none at all. Between two leaders, what is under way
/// gets lost without a word; to send it again then costs little, and there is no other sign.
const SILENT_FOR: Duration = Duration::from_secs(2);

/// The number of an event within one session, from 0.
pub(super) type Token = u64;

/// What confirms an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Proof {
    /// The answer of the stream that covers its subject.
    Stream,
    /// The next marker.
    Marker,
}

struct Sent {
    seq: Seq,
    bytes: usize,
    at: Instant,
    waits_for: Option<Proof>,
    /// The server took it, or will have.
    is_taken: bool,
}

pub(super) struct Window {
    sent: VecDeque<Sent>,
    /// The token of the oldest in `sent`.
    oldest: Token,
    bytes: usize,
    limit: usize,
    unmarked: usize,
    confirmed: Place,
    /// When something was last confirmed.
    heard: Option<Instant>,
}

impl Window {
    /// Nothing under way; everything up to `confirmed` was confirmed before.
    pub(super) fn new(confirmed: Place) -> Self {
        // One event at first: where the server refuses, only this one is sent again and again, and
        // no later one overtakes it.
        Self {
            sent: VecDeque::new(),
            oldest: 0,
            bytes: 0,
            limit: 1,
            unmarked: 0,
            confirmed,
            heard: None,
        }
    }

    /// One event at a time again, until the next confirmation.
    pub(super) fn narrow(&mut self) {
        self.limit = 1;
    }

    /// Whether another event may be sent.
    pub(super) fn has_room(&self) -> bool {
        self.sent.len() < self.limit && self.bytes < MAX_BYTES
    }

    /// Whether everything sent was confirmed.
    pub(super) fn is_empty(&self) -> bool {
        self.sent.is_empty()
    }

    /// The last event up to which everything was confirmed.
    pub(super) fn confirmed(&self) -> Place {
        self.confirmed
    }

    /// Takes in an event that is being sent.
    pub(super) fn push(&mut self, seq: Seq, bytes: usize, proof: Proof, now: Instant) -> Token {
        self.unmarked += usize::from(proof == Proof::Marker);
        self.bytes += bytes;
        self.sent.push_back(Sent { seq, bytes, at: now, waits_for: Some(proof), is_taken: true });
        self.next_token() - 1
    }

    /// Takes in an event that is not sent at all: it counts as confirmed when its turn comes.
    pub(super) fn skip(&mut self, seq: Seq, now: Instant) {
        self.sent.push_back(Sent { seq, bytes: 0, at: now, waits_for: None, is_taken: false });
        self.advance();
    }

    /// Everything up to `seq` is done and was never under way. Ignored while something is.
    pub(super) fn pass(&mut self, seq: Seq) {
        if self.sent.is_empty() {
            self.confirmed.seq = self.confirmed.seq.max(seq);
        }
    }

    /// The events behind the last marker are many, or nothing more may be sent before it.
    pub(super) fn marker_due(&self) -> bool {
        self.unmarked >= MARK_EVERY || (self.unmarked > 0 && !self.has_room())
    }

    /// There are events behind the last marker.
    pub(super) fn marker_useful(&self) -> bool {
        self.unmarked > 0
    }

    /// A marker is being sent. It comes back as `marker_back` with this token.
    pub(super) fn mark(&mut self) -> Token {
        self.unmarked = 0;
        self.next_token()
    }

    /// A marker came back: the server has read all that was sent before it.
    pub(super) fn marker_back(&mut self, token: Token) {
        let before = usize::try_from(token.saturating_sub(self.oldest)).unwrap_or(usize::MAX);
        for sent in self.sent.iter_mut().take(before) {
            if sent.waits_for == Some(Proof::Marker) {
                sent.waits_for = None;
            }
        }
        self.advance();
    }

    /// The event's place, when it is still waiting for its stream.
    pub(super) fn waiting(&self, token: Token) -> Option<Seq> {
        let sent = self.sent.get(usize::try_from(token.checked_sub(self.oldest)?).ok()?)?;
        (sent.waits_for == Some(Proof::Stream)).then_some(sent.seq)
    }

    /// The stream has the event.
    pub(super) fn answered(&mut self, token: Token, now: Instant) {
        self.settle(token, true, now);
    }

    /// The stream never takes the event.
    pub(super) fn refused(&mut self, token: Token, now: Instant) {
        self.settle(token, false, now);
    }

    fn settle(&mut self, token: Token, is_taken: bool, now: Instant) {
        if self.waiting(token).is_some()
            && let Ok(at) = usize::try_from(token - self.oldest)
            && let Some(sent) = self.sent.get_mut(at)
        {
            (sent.waits_for, sent.is_taken) = (None, is_taken);
            self.heard = Some(now);
            self.advance();
        }
    }

    /// The oldest event and how long it may wait, when it has waited too long.
    pub(super) fn overdue(&self, now: Instant) -> Option<(Seq, Duration)> {
        let oldest = self.sent.front()?;
        let is_longer = |since: Instant, limit| now.saturating_duration_since(since) > limit;
        let silent_since = self.heard.map_or(oldest.at, |heard| heard.max(oldest.at));
        if is_longer(oldest.at, CONFIRM_WITHIN) {
            return Some((oldest.seq, CONFIRM_WITHIN));
        }
        let owes = oldest.waits_for == Some(Proof::Stream);
        (owes && is_longer(silent_since, SILENT_FOR)).then_some((oldest.seq, SILENT_FOR))
    }

    fn next_token(&self) -> Token {
        self.oldest + self.sent.len() as Token
    }

    fn advance(&mut self) {
        while let Some(sent) = self.sent.pop_front_if(|sent| sent.waits_for.is_none()) {
            self.oldest += 1;
            self.bytes -= sent.bytes;
            self.confirmed.seq = sent.seq;
            if sent.is_taken {
                self.confirmed.taken = sent.seq;
                self.limit = MAX_EVENTS;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_session_begins_with_one_event_and_opens_up_with_the_first_confirmation() {
        let now = Instant::now();
        let mut window = Window::new(Place { seq: 7, taken: 6 });
        assert!(window.has_room());
        let token = window.push(8, 100, Proof::Stream, now);
        assert!(!window.has_room());
        window.answered(token, now);
        assert_eq!((window.confirmed().seq, window.is_empty()), (8, true));
        for seq in 9..9 + MAX_EVENTS as Seq {
            assert!(window.has_room());
            window.push(seq, 100, Proof::Stream, now);
        }
        assert!(!window.has_room());
    }

    #[test]
    fn only_what_is_stored_opens_the_window() {
        let mut window = Window::new(Place::default());
        window.skip(1, Instant::now());
        let token = window.push(2, 100, Proof::Stream, Instant::now());
        assert!(!window.has_room());
        window.refused(token, Instant::now());
        let token = window.push(3, 100, Proof::Stream, Instant::now());
        assert!(!window.has_room());
        window.answered(token, Instant::now());
        window.narrow();
        window.push(4, 100, Proof::Stream, Instant::now());
        assert!(!window.has_room());
    }

    #[test]
    fn large_events_close_the_window_early() {
        let mut window = Window::new(Place::default());
        let token = window.push(1, 1, Proof::Stream, Instant::now());
        window.answered(token, Instant::now());
        let fit = (1..).take_while(|i| {
            let room = window.has_room();
            window.push(1 + i, 1 << 20, Proof::Stream, Instant::now());
            room
        });
        assert_eq!(fit.count(), 8);
    }

    #[test]
    fn the_cursor_waits_for_the_oldest_whatever_confirms_it() {
        let now = Instant::now();
        let mut window = Window::new(Place::default());
        let first = window.push(1, 1, Proof::Stream, now);
        window.push(2, 1, Proof::Marker, now);
        assert!(window.marker_due(), "nothing more may be sent before it");
        let marker = window.mark();
        assert!(!window.marker_useful());
        let third = window.push(3, 1, Proof::Marker, now);
        window.skip(5, now);
        window.marker_back(marker);
        assert_eq!(window.confirmed().seq, 0);
        window.answered(first, now);
        assert_eq!(window.confirmed().seq, 2, "3 was sent behind the marker");
        window.answered(third, now);
        assert_eq!(window.confirmed().seq, 2, "no stream answers for 3");
        let marker = window.mark();
        window.marker_back(marker);
        assert_eq!(window.confirmed(), Place { seq: 5, taken: 3 }, "5 was not sent");
        window.pass(9);
        assert_eq!(window.confirmed(), Place { seq: 9, taken: 3 });
        let large = window.push(10, 1, Proof::Stream, now);
        window.refused(large, now);
        assert_eq!(window.confirmed(), Place { seq: 10, taken: 3 });
    }

    #[test]
    fn an_event_without_confirmation_is_overdue_after_ten_seconds() {
        let now = Instant::now();
        let mut window = Window::new(Place::default());
        window.push(1, 1, Proof::Marker, now);
        assert_eq!(window.overdue(now + CONFIRM_WITHIN), None);
        let late = now + CONFIRM_WITHIN + Duration::from_millis(1);
        assert_eq!(window.overdue(late), Some((1, CONFIRM_WITHIN)));
    }

    #[test]
    fn a_stream_that_says_nothing_for_two_seconds_is_not_waited_for() {
        let (now, moment) = (Instant::now(), Duration::from_millis(1));
        let mut window = Window::new(Place::default());
        let first = window.push(1, 1, Proof::Stream, now);
        assert_eq!(window.overdue(now + SILENT_FOR), None);
        assert_eq!(window.overdue(now + SILENT_FOR + moment), Some((1, SILENT_FOR)));
        // A slow one that answers one after the other is waited for.
        window.push(2, 1, Proof::Stream, now);
        window.answered(first, now + SILENT_FOR);
        assert_eq!(window.overdue(now + SILENT_FOR * 2), None);
        assert_eq!(window.overdue(now + SILENT_FOR * 2 + moment), Some((2, SILENT_FOR)));
    }

    proptest! {
        /// Against the plain definition: confirmed is the place before the first unconfirmed.
        #[test]
        fn the_cursor_never_passes_an_unconfirmed_event(
            actions in prop::collection::vec((0..5u8, any::<prop::sample::Index>()), 0..400),
        ) {
            let now = Instant::now();
            let mut window = Window::new(Place::default());
            let mut model: Vec<(Option<Proof>, Token)> = Vec::new();
            let mut markers: Vec<(Token, usize)> = Vec::new();
            for (action, index) in actions {
                let seq = model.len() as Seq + 1;
                match action {
                    0 | 1 => {
                        let proof = [Proof::Stream, Proof::Marker][usize::from(action)];
                        model.push((Some(proof), window.push(seq, 1, proof, now)));
                    }
                    2 => {
                        window.skip(seq, now);
                        model.push((None, model.len() as Token));
                    }
                    3 => {
                        markers.push((window.mark(), model.len()));
                        if index.index(2) == 0 {
                            let (token, behind) = markers[index.index(markers.len())];
                            window.marker_back(token);
                            for sent in &mut model[..behind] {
                                sent.0 = sent.0.filter(|proof| *proof == Proof::Stream);
                            }
                        }
                    }
                    _ if model.is_empty() => {}
                    _ => {
                        let at = index.index(model.len());
                        window.answered(model[at].1, now);
                        model[at].0 = model[at].0.filter(|proof| *proof == Proof::Marker);
                    }
                }
                let expected = model.iter().take_while(|sent| sent.0.is_none()).count();
                prop_assert_eq!(window.confirmed().seq, expected as Seq);
                prop_assert_eq!(window.is_empty(), expected == model.len());
            }
        }
    }
}
