//! Connections, background tasks and the shutdown of a server.

mod connection_age;
mod connections;
mod housekeeping;
mod shutdown;
mod shutdown_delay;
