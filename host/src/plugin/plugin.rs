//! One loaded version of a plugin, and how it is called: in batches, with a fresh instance after
//! every failure, so that only the event at fault suffers.

use std::{
    sync::{Arc, MutexGuard as Guard, PoisonError},
    time::{Duration, Instant},
};

use futures::future::BoxFuture;
use tokio::sync::{Mutex, MutexGuard};
use tracing::{info, warn};
use wasmtime::component::{Component, InstancePre, Linker};

use super::{
    breaker::{Breaker, Leave, Turn},
    call::{
        Action, Answers, BATCH, BATCH_BYTES, Call, CallError, Delivery, MAX_REASON, Patch,
        ReactError, Verdict,
    },
    capabilities::Grants,
    component::{Exports, Roles, Step, exports, roles},
    environment::Environment,
    guest::{Guest, Sandbox},
    instance::{Description, Instance, LOAD_DEADLINE, RESTART_DEADLINE, cut},
    keyvalue::GuestState,
    linker::{Provision, provision},
    logging::{Voice, Words},
    manifest::Manifest,
    probation::{Probation, Remaining},
    status::Stats,
};
use crate::{
    dashboard::{Board, Change, Version},
    event::{Event, EventPriority, PluginName, Subject, SubjectPattern},
    store::state::{Bucket, Side, State},
};

/// The most patterns that a component may subscribe to of itself.
const MAX_PATTERNS: usize = 64;

/// A version of a plugin that was loaded, instantiated and configured once.
pub struct Plugin {
    name: PluginName,
    hash: Arc<str>,
    manifest: Manifest,
    description: Description,
    roles: Roles,
    subscribe: Vec<SubjectPattern>,
    min_priority: EventPriority,
    component: Component,
    pre: InstancePre<Guest>,
    exports: Exports,
    environment: Environment,
    state: State,
    pipeline_state: Arc<Bucket>,
    reaction_state: Arc<Bucket>,
    grants: Grants,
    /// For `filter` and `enrich`; the pipeline is its only caller.
    pipeline: Mutex<Slot>,
    /// For `react`, apart, so that no event waits for a reaction: as many as it may have at once.
    reactions: Vec<Mutex<Slot>>,
    /// Whether the component imports `wasi:keyvalue`. One that does not may have calls side by side,
    /// and they leave the bucket alone.
    is_stateful: bool,
    voice: Arc<Voice>,
    stats: Stats,
    /// Set for a version that took over from another.
    probation: Option<Probation>,
    /// Where it tells that it is left alone; nowhere before it runs.
    board: Option<Board>,
}

/// One caller's instance, and whether it is worth calling.
struct Slot {
    /// Taken out for a call, and put back only after a good answer: an instance that trapped, hung
    /// or was interrupted by the host's own end is never called again.
    instance: Option<Instance>,
    /// One for all slots of a role.
    breaker: Arc<std::sync::Mutex<Breaker>>,
    bucket: Arc<Bucket>,
    /// What the instance may know of the bucket: where that has moved on without it, what the guest
    /// remembers may not be true any more.
    knows: Knowledge,
}

/// The bucket's generation, and how many calls have written there.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Knowledge {
    generation: u64,
    calls: u64,
}

impl Knowledge {
    fn of(bucket: &Bucket) -> Self {
        Self { generation: bucket.generation(), calls: bucket.calls_kept() }
    }
}

impl Slot {
    /// With an instance that was made when this was known of the bucket.
    fn new(
        breaker: &Arc<std::sync::Mutex<Breaker>>,
        bucket: &Arc<Bucket>,
        knows: Knowledge,
        instance: Option<Instance>,
    ) -> Mutex<Self> {
        let (breaker, bucket) = (Arc::clone(breaker), Arc::clone(bucket));
        Mutex::new(Self { instance, breaker, bucket, knows })
    }

    fn breaker(&self) -> Guard<'_, Breaker> {
        // Nothing panics while it is held.
        self.breaker.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn keep_call(&mut self) {
        self.bucket.keep_call();
        self.knows.calls = self.bucket.calls_kept();
    }
}

impl Plugin {
    /// Links, instantiates, describes and configures a version.
    pub(super) async fn load(
        linker: &Linker<Guest>,
        component: Component,
        name: PluginName,
        hash: Arc<str>,
        manifest: Manifest,
        environment: &Environment,
        state: &State,
    ) -> Result<Self, (Step, String)> {
        let roles = roles(&component).map_err(|e| (Step::Roles, e))?;
        let grants =
            Grants::new(&name, &manifest.capabilities, roles).map_err(|e| (Step::Capability, e))?;
        let link = |e: wasmtime::Error| (Step::Link, format!("{e:#}"));
        let pre = linker.instantiate_pre(&component).map_err(link)?;
        let exports = exports(&pre, roles).map_err(link)?;
        let is_stateful = imports_state(&component);
        let concurrency = manifest.reaction.concurrency.get();
        if is_stateful && concurrency > 1 {
            return Err((Step::Capability, ONE_WRITER.into()));
        }
        let [pipeline, reaction] = Side::ALL.map(|side| state.bucket(&name, side));
        let in_pipeline = roles.filter || roles.enricher;
        let bucket = if in_pipeline { &pipeline } else { &reaction };
        // Before the guest can look: the version that runs may be writing.
        let knows = Knowledge::of(bucket);
        let lines = manifest.limits.log_lines_per_second.get();
        let voice = Voice::new(name.clone(), lines, environment.clone());
        let sandbox = Sandbox {
            voice: &voice,
            manifest: &manifest,
            grants: &grants,
            state: GuestState::new(Arc::clone(bucket), state, manifest.state_quota()),
            environment,
        };
        let mut instance = Instance::start(&pre, &exports, sandbox, LOAD_DEADLINE)
            .await
            .map_err(|e| (Step::Instantiate, e.to_string()))?;
        let description = instance.describe().await.map_err(|e| (Step::Describe, e.to_string()))?;
        let subscribe = match &manifest.subscribe {
            Some(patterns) => patterns.clone(),
            None => described(&description).map_err(|e| (Step::Describe, e))?,
        };
        let configured = instance.configure(LOAD_DEADLINE).await;
        configured.map_err(|e| (Step::Configure, e.to_string()))?;
        let (first, mut second) =
            if in_pipeline { (Some(instance), None) } else { (None, Some(instance)) };
        let breaker = Arc::default();
        let slots = (0..concurrency).map(|_| Slot::new(&breaker, &reaction, knows, second.take()));
        let reactions = slots.collect();
        Ok(Self {
            name,
            hash,
            min_priority: manifest.min_priority.unwrap_or(description.min_priority),
            manifest,
            description,
            roles: exports.roles(),
            subscribe,
            component,
            pre,
            exports,
            environment: environment.clone(),
            state: state.clone(),
            pipeline: Slot::new(&Arc::default(), &pipeline, knows, first),
            reactions,
            is_stateful,
            pipeline_state: pipeline,
            reaction_state: reaction,
            grants,
            voice,
            stats: Stats::default(),
            probation: None,
            board: None,
        })
    }

    /// The stem of its file.
    pub fn name(&self) -> &PluginName {
        &self.name
    }

    /// SHA-256 of the component, hexadecimal.
    pub fn hash(&self) -> &Arc<str> {
        &self.hash
    }

    /// What it is.
    pub fn roles(&self) -> Roles {
        self.roles
    }

    /// Its sidecar.
    pub fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    /// The plugin's own version, for people.
    pub fn version(&self) -> &str {
        &self.description.version
    }

    /// The plugin's own summary, for people.
    pub fn summary(&self) -> &str {
        &self.description.summary
    }

    /// The subjects that it sees.
    pub fn subscribe(&self) -> &[SubjectPattern] {
        &self.subscribe
    }

    /// The least priority that it sees.
    pub fn min_priority(&self) -> EventPriority {
        self.min_priority
    }

    /// What it has done.
    pub fn stats(&self) -> &Stats {
        &self.stats
    }

    /// How often it asked for what it was not granted.
    pub fn denials(&self) -> u64 {
        self.grants.denials.count()
    }

    /// Counts a denial that was found in an answer after the call, and that the caller logs.
    pub fn count_denial(&self) {
        self.grants.denials.add();
    }

    /// The interfaces that it imports, by name, and what the host has behind each.
    pub fn imports(&self) -> Vec<(String, Provision)> {
        let ty = self.component.component_type();
        let names = ty.imports(self.component.engine()).map(|(name, _)| name.to_owned());
        let granted = &self.manifest.capabilities;
        names.map(|name| (provision(&name, granted), name)).map(|(has, name)| (name, has)).collect()
    }

    /// Lines of its log that were not logged.
    pub fn log_lines_swallowed(&self) -> u64 {
        self.voice.swallowed()
    }

    pub(super) fn component(&self) -> &Component {
        &self.component
    }

    /// Whether it can remember anything: whether it imports `wasi:keyvalue`.
    pub fn is_stateful(&self) -> bool {
        self.is_stateful
    }

    /// What it remembers of its work in the pipeline.
    pub fn pipeline_state(&self) -> &Arc<Bucket> {
        &self.pipeline_state
    }

    /// What it remembers of its reactions.
    pub fn reaction_state(&self) -> &Arc<Bucket> {
        &self.reaction_state
    }

    /// Before it runs.
    pub(super) fn begin_probation(&mut self, probation: Probation) {
        self.probation = Some(probation);
    }

    /// Before it runs.
    pub(super) fn tell_changes_to(&mut self, board: &Board) {
        self.board = Some(board.clone());
    }

    /// Which version of which plugin it is.
    pub(super) fn named(&self) -> Version {
        Version {
            plugin: self.name.clone(),
            version: self.version().to_owned(),
            hash: self.hash.to_string(),
        }
    }

    /// What is left of its probation; `None` when it is on none.
    pub fn probation(&self) -> Option<Remaining> {
        let probation = self.probation.as_ref()?;
        self.on_probation().and_then(|_| probation.remaining(self.stats.events()))
    }

    /// The version before, while this one is on probation.
    pub(super) fn on_probation(&self) -> Option<Arc<Plugin>> {
        self.probation.as_ref()?.before(self.stats.events())
    }

    /// Gives up its instances and what its breakers remember, unless a call is under way: for a
    /// version that no longer runs, or runs again.
    pub(super) fn rest(&self) {
        for slot in std::iter::once(&self.pipeline).chain(&self.reactions) {
            if let Ok(mut slot) = slot.try_lock() {
                slot.instance = None;
                *slot.breaker() = Breaker::new();
            }
        }
        self.stats.set_quarantined(false);
    }

    /// Whether it is to be called with this event. The cheapest call is the one not made.
    pub fn wants(&self, event: &Event, subject: &Subject) -> bool {
        event.priority >= self.min_priority && self.subscribe.iter().any(|p| p.matches(subject))
    }

    /// A verdict, or why there is none, for each of `events`.
    pub async fn filter(&self, events: &[&Event]) -> Answers<Verdict> {
        let answers = self.in_batches(events, Role::Filter).await;
        answers.map(|answer| match answer {
            Answer::Verdict(verdict) => verdict,
            Answer::Patch(_) => Verdict::Keep,
        })
    }

    /// A patch, nothing, or why there is neither, for each of `events`.
    pub async fn enrich(&self, events: &[&Event]) -> Answers<Option<Patch>> {
        let answers = self.in_batches(events, Role::Enricher).await;
        answers.map(|answer| match answer {
            Answer::Patch(patch) => patch,
            Answer::Verdict(_) => None,
        })
    }

    /// Counts events that the plugin's answers changed.
    pub fn count_changed(&self, events: usize) {
        self.stats.changed(events as u64);
    }

    /// Counts a failure that was found in an answer after the call.
    pub fn count_failure(&self, error: &CallError) {
        self.stats.failed(error);
    }

    async fn in_batches(&self, events: &[&Event], role: Role) -> Answers<Answer> {
        let mut slot = self.pipeline.lock().await;
        let mut told = Answers::with_capacity(events.len());
        let mut rest = events;
        while !rest.is_empty() {
            let leave = slot.breaker().leave(Instant::now());
            let size = match leave {
                Leave::Call => batch_size(rest),
                Leave::Probe => 1,
                Leave::Wait(until) => {
                    let refused = rest.iter().map(|_| Err(CallError::quarantined(until)));
                    told.add(self.no_call(rest.len()), refused);
                    break;
                }
            };
            let (batch, later) = rest.split_at(size);
            rest = later;
            let before = self.on_probation();
            let (call, answers) = self.call(&mut slot, batch, role).await;
            match answers {
                Ok(answers) => {
                    answers.iter().for_each(|answer| self.tell(&mut slot, answer.as_ref().err()));
                    told.add(call, answers);
                }
                Err(error) => {
                    if let Some(before) = self.give_way(before.as_ref(), &error) {
                        let left = events.get(told.answers.len()..).unwrap_or_default();
                        told.leave(call, error, before.stand_in(left, role).await);
                        return told;
                    }
                    // One of them is at fault: each on its own tells which. What was said in vain
                    // is said again.
                    for event in batch {
                        let (call, answer) = self.alone(&mut slot, event, role).await;
                        if let Err(error) = &answer
                            && let Some(before) = self.give_way(before.as_ref(), error)
                        {
                            let left = events.get(told.answers.len()..).unwrap_or_default();
                            told.leave(call, error.clone(), before.stand_in(left, role).await);
                            return told;
                        }
                        told.add(call, [answer]);
                    }
                }
            }
        }
        told
    }

    /// Stands for a call about so many events that was not made.
    fn no_call(&self, events: usize) -> Call {
        Call::new(&self.hash, events, Duration::ZERO, Words::default())
    }

    /// Leaves the field to the version before, where `error` ends a probation.
    fn give_way<'a>(
        &self,
        before: Option<&'a Arc<Plugin>>,
        error: &CallError,
    ) -> Option<&'a Arc<Plugin>> {
        let before = before.filter(|_| error.is_breakdown())?;
        let probation = self.probation.as_ref()?;
        self.stats.failed(error);
        probation.fail(self, error).then_some(before)
    }

    /// Answers for a newer version that has just failed on its probation, so that not one event
    /// suffers from it. What this version does not subscribe to passes.
    fn stand_in<'a>(
        &'a self,
        events: &'a [&'a Event],
        role: Role,
    ) -> BoxFuture<'a, Answers<Answer>> {
        Box::pin(async move {
            let has_role = match role {
                Role::Filter => self.roles.filter,
                Role::Enricher => self.roles.enricher,
            };
            let (places, own): (Vec<usize>, Vec<&Event>) = (0..)
                .zip(events.iter().copied())
                .filter(|(_, event)| has_role && self.wants(event, &event.subject()))
                .unzip();
            let mut told = self.in_batches(&own, role).await;
            // What it does not want lies between its own events.
            for call in &mut told.calls {
                let place = |at: usize| places.get(at).copied().unwrap_or_default();
                call.events = place(call.events.start)..place(call.events.end - 1) + 1;
            }
            let passing = told.calls.len();
            told.calls.push(self.no_call(events.len()));
            let mut answers = std::mem::take(&mut told.answers).into_iter();
            let mut places = places.into_iter().peekable();
            told.answers.extend((0..events.len()).map(|at| {
                let is_own = places.next_if_eq(&at).is_some();
                is_own.then(|| answers.next()).flatten().unwrap_or_else(|| {
                    let nothing = match role {
                        Role::Filter => Answer::Verdict(Verdict::Keep),
                        Role::Enricher => Answer::Patch(None),
                    };
                    (passing, Ok(nothing))
                })
            }));
            told
        })
    }

    /// One event in a call of its own, unless the breaker has opened meanwhile.
    async fn alone(
        &self,
        slot: &mut Slot,
        event: &Event,
        role: Role,
    ) -> (Call, Result<Answer, CallError>) {
        let leave = slot.breaker().leave(Instant::now());
        if let Leave::Wait(until) = leave {
            return (self.no_call(1), Err(CallError::quarantined(until)));
        }
        let (call, answers) = self.call(slot, &[event], role).await;
        let answer = answers.and_then(|answers| {
            let only = answers.into_iter().next();
            only.unwrap_or_else(|| Err(CallError::Nonsense("no answer for one event".into())))
        });
        self.tell(slot, answer.as_ref().err());
        (call, answer)
    }

    async fn call(
        &self,
        slot: &mut Slot,
        events: &[&Event],
        role: Role,
    ) -> (Call, Result<Vec<Result<Answer, CallError>>, CallError>) {
        self.environment.begin_call(events.iter().copied());
        let mut instance = match self.instance(slot).await {
            Ok(instance) => instance,
            Err(e) => return (self.no_call(events.len()), Err(e)),
        };
        slot.bucket.begin_call();
        let deadline = self.manifest.pipeline_deadline();
        let begun = Instant::now();
        let result = match role {
            Role::Filter => instance
                .filter(events, deadline)
                .await
                .map(|verdicts| verdicts.into_iter().map(|v| Ok(Answer::Verdict(v))).collect()),
            Role::Enricher => instance
                .enrich(events, deadline)
                .await
                .map(|patches| patches.into_iter().map(|p| p.map(Answer::Patch)).collect()),
        };
        let took = begun.elapsed();
        self.stats.called(events.len(), took, instance.memory());
        match &result {
            Ok(_) => slot.keep_call(),
            Err(_) => slot.bucket.drop_call(),
        }
        let call = Call::new(&self.hash, events.len(), took, instance.take_words());
        slot.instance = result.is_ok().then_some(instance);
        (call, result)
    }

    /// Tells the breaker, the figures and the log how one event went.
    fn tell(&self, slot: &mut Slot, error: Option<&CallError>) {
        if let Some(error) = error {
            self.stats.failed(error);
        }
        // A guest that says itself that it failed on an event is in good health.
        let turn = match error {
            None | Some(CallError::Failed(_)) => slot.breaker().succeeded(),
            // A trial shows what happens with every event, however many fail.
            Some(_) if !self.environment.is_live() => Turn::None,
            Some(_) => slot.breaker().failed(Instant::now()),
        };
        let name = &self.name;
        let change = match turn {
            Turn::None => return,
            Turn::Opened(pause) => {
                warn!("plugin {name} keeps failing and is left alone for {pause:?}");
                let (seconds, reason) = (pause.as_secs_f64(), self.stats.last_error());
                Change::PluginQuarantined { version: self.named(), seconds, reason }
            }
            Turn::Closed => {
                info!("plugin {name} answers again and takes part");
                Change::PluginRecovered(self.named())
            }
        };
        self.stats.set_quarantined(slot.breaker().is_open());
        if let Some(board) = &self.board {
            board.tell(change);
        }
    }

    /// What the plugin wants done about a stored event, and the call; or why it wants nothing done
    /// yet, or ever. As many calls run at once as the sidecar's `concurrency` says; further ones
    /// wait.
    pub async fn react(&self, delivery: Delivery<'_>) -> (Call, Result<Vec<Action>, ReactError>) {
        let mut slot = self.free_slot().await;
        let before = self.on_probation();
        let leave = slot.breaker().leave(Instant::now());
        if let Leave::Wait(until) = leave {
            return (self.no_call(1), Err(ReactError::Quarantined(until)));
        }
        let (call, answer) = self.react_in(&mut slot, delivery).await;
        if let Err(e) = &answer
            && self.give_way(before.as_ref(), e).is_some()
        {
            return (call, Err(ReactError::RolledBack(e.to_string())));
        }
        let error = match &answer {
            Ok(Ok(_)) => None,
            Ok(Err(refusal)) => Some(CallError::Failed(refusal.to_string())),
            Err(e) => Some(e.clone()),
        };
        self.tell(&mut slot, error.as_ref());
        let retry = |e: CallError| ReactError::Retry { reason: e.to_string(), after: None };
        (call, answer.unwrap_or_else(|e| Err(retry(e))))
    }

    /// Locks a slot for `react`, the first that is free.
    async fn free_slot(&self) -> MutexGuard<'_, Slot> {
        match self.reactions.iter().find_map(|slot| slot.try_lock().ok()) {
            Some(slot) => slot,
            None => {
                let free = self.reactions.iter().map(|slot| Box::pin(slot.lock()));
                futures::future::select_all(free).await.0
            }
        }
    }

    /// Throws its instances away and makes a fresh one, as a failure does.
    ///
    /// # Errors
    /// [`CallError`] when a fresh one cannot be made.
    pub async fn restart(&self) -> Result<(), CallError> {
        for slot in &self.reactions {
            slot.lock().await.instance = None;
        }
        let has_pipeline = self.roles.filter || self.roles.enricher;
        let mut slot = self.pipeline.lock().await;
        slot.instance = None;
        if !has_pipeline {
            slot = self.free_slot().await;
        }
        slot.instance = Some(self.instance(&mut slot).await?);
        Ok(())
    }

    async fn react_in(
        &self,
        slot: &mut Slot,
        delivery: Delivery<'_>,
    ) -> (Call, Result<Result<Vec<Action>, ReactError>, CallError>) {
        self.environment.begin_call([&delivery.entry.event]);
        let mut instance = match self.instance(slot).await {
            Ok(instance) => instance,
            Err(e) => return (self.no_call(1), Err(e)),
        };
        if self.is_stateful {
            slot.bucket.begin_call();
        }
        let begun = Instant::now();
        let result = instance.react(delivery, self.manifest.reaction_deadline()).await;
        let took = begun.elapsed();
        self.stats.called(1, took, instance.memory());
        match &result {
            // Calls side by side must not end each other's.
            _ if !self.is_stateful => {}
            Ok(Ok(_)) => slot.keep_call(),
            // Who did not react has nothing to remember.
            Ok(Err(_)) | Err(_) => slot.bucket.drop_call(),
        }
        let words = instance.take_words();
        let call = Call { requests: instance.requests(), ..Call::new(&self.hash, 1, took, words) };
        slot.instance = result.is_ok().then_some(instance);
        (call, result)
    }

    /// The slot's instance, or a fresh one.
    async fn instance(&self, slot: &mut Slot) -> Result<Instance, CallError> {
        let now = Knowledge::of(&slot.bucket);
        if let Some(instance) = slot.instance.take_if(|_| slot.knows == now) {
            return Ok(instance);
        }
        slot.instance = None;
        slot.knows = now;
        let quota = self.manifest.state_quota();
        let sandbox = Sandbox {
            voice: &self.voice,
            manifest: &self.manifest,
            grants: &self.grants,
            state: GuestState::new(Arc::clone(&slot.bucket), &self.state, quota),
            environment: &self.environment,
        };
        let mut instance =
            Instance::start(&self.pre, &self.exports, sandbox, RESTART_DEADLINE).await?;
        instance.configure(RESTART_DEADLINE).await.map_err(|e| CallError::Start(e.to_string()))?;
        Ok(instance)
    }
}

/// Why a component with state has one call at a time.
const ONE_WRITER: &str = "the component imports wasi:keyvalue, and a bucket has one writer: it reacts to \
     one event at a time (take concurrency out of [reaction], or the state out of the component)";

fn imports_state(component: &Component) -> bool {
    let ty = component.component_type();
    ty.imports(component.engine()).any(|(name, _)| name.starts_with("wasi:keyvalue/"))
}

#[derive(Clone, Copy)]
enum Role {
    Filter,
    Enricher,
}

enum Answer {
    Verdict(Verdict),
    Patch(Option<Patch>),
}

/// How many of `events` make the next call: at least one.
fn batch_size(events: &[&Event]) -> usize {
    let mut bytes = 0;
    let fitting = events.iter().take(BATCH).take_while(|event| {
        let before = bytes;
        bytes += event.message.as_str().len() + event.data.as_str().len();
        before == 0 || bytes <= BATCH_BYTES
    });
    fitting.count().max(1)
}

fn described(description: &Description) -> Result<Vec<SubjectPattern>, String> {
    if description.subscribe.is_empty() {
        return Ok(vec![SubjectPattern::everything()]);
    }
    let count = description.subscribe.len();
    if count > MAX_PATTERNS {
        return Err(format!("subscribes to {count} patterns, at most {MAX_PATTERNS} are allowed"));
    }
    let patterns = description.subscribe.iter().map(|text| text.parse::<SubjectPattern>());
    patterns.collect::<Result<_, _>>().map_err(|e| cut(e.to_string(), MAX_REASON))
}
