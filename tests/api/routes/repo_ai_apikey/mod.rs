//! `/repo/{repoId}/ai/apikey`: repo AI keys.

mod all_methods;
mod callers;
mod create;
mod delete;
mod list;
mod update;
