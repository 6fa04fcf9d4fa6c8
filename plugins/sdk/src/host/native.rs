//! The host that a test plays, one for each thread, since that is where each test runs.

use std::cell::RefCell;
use std::mem;

use crate::log::Level;

thread_local! {
    static CONFIG: RefCell<Vec<(String, String)>> = const { RefCell::new(Vec::new()) };
    static LOG: RefCell<Vec<(Level, String)>> = const { RefCell::new(Vec::new()) };
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
