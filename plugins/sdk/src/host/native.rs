//! The host that a test plays, one for each thread, since that is where each test runs.

use std::cell::RefCell;
use std::mem;

use crate::http::{Error, Request, Response, Target};
use crate::log::Level;

type Server = Box<dyn FnMut(&Request) -> Result<Response, Error>>;

thread_local! {
    static CONFIG: RefCell<Vec<(String, String)>> = const { RefCell::new(Vec::new()) };
    static LOG: RefCell<Vec<(Level, String)>> = const { RefCell::new(Vec::new()) };
    static SERVER: RefCell<Option<Server>> = const { RefCell::new(None) };
}

pub(crate) fn config() -> Result<Vec<(String, String)>, String> {
    Ok(CONFIG.with_borrow(Clone::clone))
}

pub(crate) fn set_config(pairs: Vec<(String, String)>) {
    CONFIG.set(pairs);
}

pub(crate) fn log(level: Level, context: &str, line: &str) {
    let line = if context.is_empty() { line.into() } else { format!("{context}: {line}") };
    LOG.with_borrow_mut(|log| log.push((level, line)));
}

pub(crate) fn take_log() -> Vec<(Level, String)> {
    LOG.with_borrow_mut(mem::take)
}

pub(crate) fn http(request: &Request, target: &Target<'_>) -> Result<Response, Error> {
    SERVER.with_borrow_mut(|server| match server {
        Some(server) => server(request),
        None => Err(Error::Denied(format!("no server plays {} in this test", target.authority))),
    })
}

pub(crate) fn set_http(server: Server) {
    SERVER.set(Some(server));
}
