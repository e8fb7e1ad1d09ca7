//! The integration tests, all in one binary: linking is the dear part.

mod approvals;
mod capabilities;
mod cli;
mod crash;
mod demo_shop;
mod ending;
mod engine;
mod faults;
mod journal;
mod lanes;
mod licences;
mod many_waiting;
mod migrating;
mod models;
mod random_rules;
mod records;
mod replay;
mod schedules;
mod shadow;
mod shops;
mod support;
mod tidy;
mod versions;
mod waits;
mod world;
