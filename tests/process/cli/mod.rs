//! The commands of the program.

mod admin;
mod bind_secrets;
mod commands;
mod dev;
mod dev_management_key;
mod migrate;
