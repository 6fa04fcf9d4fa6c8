//! placeholder until the client commands land
pub mod config;
pub mod serve;
