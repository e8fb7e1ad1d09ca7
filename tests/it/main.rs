//! The integration tests, all in one binary: linking is the dear part.

mod capabilities;
mod cli;
mod crash;
mod dead;
mod demo_shop;
mod echo;
mod ending;
mod engine;
mod faults;
mod journal;
mod lanes;
mod licences;
mod limits;
mod models;
mod pauses;
mod person;
mod random_rules;
mod records;
mod replay;
mod shops;
mod support;
mod tidy;
mod undo;
mod world;
