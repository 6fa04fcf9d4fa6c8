//! Keeps one worker for each loaded reaction plugin.

use std::{collections::HashMap, sync::Arc};

use tokio::{
    sync::watch,
    task::{Id, JoinError, JoinHandle, JoinSet},
};
use tracing::error;

use crate::{
    bus::Bus,
    control::Control,
    event::{PluginName, Seq},
    pipeline::Pipeline,
    plugin::{PluginSet, Registry},
    store::{
        Store,
        state::{Side, State},
    },
};

use super::{progress::Progress, worker::Worker};

/// The running reactions.
pub struct Reactions {
    stop: watch::Sender<bool>,
    task: JoinHandle<()>,
}

impl Reactions {
    /// Starts a worker for each reaction plugin, now and whenever one is loaded. Those that are
    /// loaded now have their place in the log when this returns: they see every event that is
    /// committed from then on. `control` carries out what commands they give; `progress` shows how
    /// far each has come.
    pub async fn start(
        plugins: &Registry,
        bus: Bus,
        store: Arc<Store>,
        pipeline: Pipeline,
        control: Arc<dyn Control>,
        progress: Progress,
    ) -> Self {
        let (stop, stopped) = watch::channel(false);
        let mut supervisor = Supervisor {
            plugins: plugins.follow(),
            stop: stopped,
            bus,
            store,
            pipeline,
            control,
            progress,
            state: plugins.state().clone(),
            workers: JoinSet::new(),
            names: HashMap::new(),
        };
        let set = Arc::clone(&supervisor.plugins.borrow_and_update());
        for plugin in &set.reactions {
            let mut worker = supervisor.worker(plugin.name());
            let start = worker.start().await;
            supervisor.hire(worker, start);
        }
        Self { stop, task: tokio::spawn(supervisor.run()) }
    }

    /// Ends after the calls that are under way, and saves every cursor.
    pub async fn stop(self) {
        self.stop.send_replace(true);
        if let Err(e) = self.task.await {
            error!("the reactions ended badly: {e}");
        }
    }
}

struct Supervisor {
    plugins: watch::Receiver<Arc<PluginSet>>,
    stop: watch::Receiver<bool>,
    bus: Bus,
    store: Arc<Store>,
    pipeline: Pipeline,
    control: Arc<dyn Control>,
    progress: Progress,
    state: State,
    workers: JoinSet<()>,
    names: HashMap<Id, PluginName>,
}

impl Supervisor {
    async fn run(mut self) {
        loop {
            let set = Arc::clone(&self.plugins.borrow_and_update());
            for plugin in &set.reactions {
                if !self.names.values().any(|name| name == plugin.name()) {
                    let worker = self.worker(plugin.name());
                    self.hire(worker, None);
                }
            }
            drop(set);
            let ended = tokio::select! {
                _ = self.stop.wait_for(|stop| *stop) => break,
                changed = self.plugins.changed() => match changed {
                    Ok(()) => None,
                    Err(_) => break,
                },
                ended = self.workers.join_next_with_id(), if !self.workers.is_empty() => ended,
            };
            // A worker whose plugin is gone ends by itself; the plugin may be back by now.
            ended.into_iter().for_each(|ended| self.ended(ended));
        }
        while let Some(ended) = self.workers.join_next_with_id().await {
            self.ended(ended);
        }
    }

    fn ended(&mut self, outcome: Result<(Id, ()), JoinError>) {
        let (id, fault) = match outcome {
            Ok((id, ())) => (id, None),
            Err(e) => (e.id(), Some(e)),
        };
        if let (Some(name), Some(fault)) = (self.names.remove(&id), fault) {
            error!("reaction {name} ended badly: {fault}");
        }
    }

    fn worker(&self, name: &PluginName) -> Worker {
        Worker {
            name: name.clone(),
            plugins: self.plugins.clone(),
            stop: self.stop.clone(),
            bus: self.bus.clone(),
            store: Arc::clone(&self.store),
            pipeline: self.pipeline.clone(),
            control: Arc::clone(&self.control),
            progress: self.progress.clone(),
            bucket: self.state.bucket(name, Side::Reaction),
            turn: None,
            position: 0,
            saved: 0,
            unsaved: Vec::new(),
        }
    }

    /// Lets a worker begin at `start`, or find its place itself.
    fn hire(&mut self, worker: Worker, start: Option<Seq>) {
        let name = worker.name.clone();
        let handle = self.workers.spawn(worker.run(start));
        self.names.insert(handle.id(), name);
    }
}
