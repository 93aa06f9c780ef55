//! Tests of one REST route: the path of the route, without its variables, and the verb.

mod apikeys;
mod key;
mod keys;
mod openapi_and_docs;
mod probes;
mod repo_ai_apikey;
mod v1_audit_events;
