//! Something that the host does over NATS besides publishing: a task with a connection of its own, made
//! anew whenever it is lost, so that what one of them is refused never holds up the others.

use tokio::{sync::watch, task::JoinHandle};
use tracing::{debug, warn};

use super::{
    NatsOptions,
    connection::Connection,
    retry::{End, Retry},
};

/// Turns true when the service is to end.
pub(super) type Stop = watch::Receiver<bool>;

/// What a service does with a connection.
pub(super) trait Session: Send + 'static {
    /// What the service is called: in the log, and by the server's operator.
    const NAME: &'static str;

    /// Works over `connection` until that ends or it is told to stop. How it ended, and whether it
    /// ever worked.
    fn run(
        &mut self,
        connection: Connection,
        stop: &mut Stop,
    ) -> impl Future<Output = (End, bool)> + Send;

    /// A connection has ended, or was not made. The next one is tried after a while.
    fn ended(&mut self, _end: &End) {}
}

/// The running task.
pub(super) struct Service {
    name: &'static str,
    stop: watch::Sender<bool>,
    task: JoinHandle<()>,
}

impl Service {
    pub(super) fn spawn<S: Session>(options: NatsOptions, session: S) -> Self {
        let (stop, stopped) = watch::channel(false);
        let task = tokio::spawn(run(options, session, stopped));
        Self { name: S::NAME, stop, task }
    }

    /// Ends after what is under way.
    pub(super) async fn stop(self) {
        self.stop.send_replace(true);
        if let Err(e) = self.task.await {
            warn!("{} ended badly: {e}", self.name);
        }
    }
}

async fn run<S: Session>(options: NatsOptions, mut session: S, mut stop: Stop) {
    let mut retry = Retry::new();
    let mut told = None;
    for attempt in 0.. {
        let (end, worked) = match connect::<S>(&options, attempt, &mut stop).await {
            Ok(connection) => session.run(connection, &mut stop).await,
            Err(end) => (end, false),
        };
        session.ended(&end);
        match &end {
            // The publisher says at `warn` that the server is away.
            End::Lost(reason) | End::Interrupted(reason) => debug!("{}: {reason}", S::NAME),
            End::Held(reason) if told.as_ref() != Some(reason) => {
                warn!("{}: {reason}", S::NAME);
                told = Some(reason.clone());
            }
            End::Held(_) | End::Stopped => {}
        }
        let Some(wait) = retry.after(&end, worked) else { return };
        tokio::select! {
            biased;
            () = asked_to_stop(&mut stop) => return,
            () = tokio::time::sleep(wait) => {}
        }
    }
}

async fn connect<S: Session>(
    options: &NatsOptions,
    attempt: usize,
    stop: &mut Stop,
) -> Result<Connection, End> {
    tokio::select! {
        biased;
        () = asked_to_stop(stop) => Err(End::Stopped),
        opened = Connection::open(options, attempt, S::NAME) => {
            opened.map_err(|e| End::Lost(e.to_string()))
        }
    }
}

/// Whoever forgets the service has stopped it as well.
pub(super) async fn asked_to_stop(stop: &mut Stop) {
    let _ = stop.wait_for(|stop| *stop).await;
}
