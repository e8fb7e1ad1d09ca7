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
mod models;
mod random_rules;
mod records;
mod replay;
mod shops;
mod support;
mod tidy;
mod trying;
mod waits;
mod world;
