//! How much may be under way: requests and tokens, those that are answered and those that wait.
//!
//! Work that can wait may fill half of the room, rules three quarters, people all of it: a flood of the one never
//! sends away the other. A shop of which nothing is here is always let in, however full others have made it.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use super::error::ModelError;
use super::request::Class;

/// The door.
pub(crate) struct Gate {
    /// Requests and tokens at most.
    most: Load,
    held: Mutex<Held>,
}

/// Requests, and their tokens: those of their prompts and those that they may write.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Load {
    pub(crate) requests: usize,
    pub(crate) tokens: usize,
}

#[derive(Default)]
struct Held {
    all: Load,
    /// Requests by shop.
    shops: BTreeMap<String, usize>,
    /// Tokens a second of late; 0 where nothing was answered yet.
    speed: f64,
}

/// A place inside. Dropping it frees it.
pub(crate) struct Ticket {
    gate: Arc<Gate>,
    shop: String,
    tokens: usize,
}

/// Before anything was measured: tokens a second that any machine does.
const SLOW: f64 = 50.0;

impl Gate {
    pub(crate) fn new(most: Load) -> Arc<Self> {
        Arc::new(Self { most, held: Mutex::default() })
    }

    fn held(&self) -> std::sync::MutexGuard<'_, Held> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Lets a request in, or says when to come again.
    pub(crate) fn enter(self: &Arc<Self>, class: Class, shop: &str, tokens: usize) -> Result<Ticket, ModelError> {
        let mut held = self.held();
        let (part, of) = match class {
            Class::Person => (1, 1),
            Class::Rule => (3, 4),
            Class::Batch => (1, 2),
        };
        let most = Load {
            requests: (self.most.requests * part).div_ceil(of),
            tokens: (self.most.tokens / of).saturating_mul(part),
        };
        let full = held.all.requests >= most.requests || held.all.tokens + tokens > most.tokens;
        if full && held.all.requests > 0 && held.shops.contains_key(shop) {
            let speed = if held.speed > 0.0 { held.speed } else { SLOW };
            // Half of what is here is gone by then, and the answers are not all as long as they may be.
            let seconds = (held.all.tokens as f64 / speed / 2.0).clamp(1.0, 600.0);
            return Err(ModelError::QueueFull {
                waiting: held.all.requests,
                retry_after: Duration::from_secs_f64(seconds),
            });
        }
        held.all.requests += 1;
        held.all.tokens += tokens;
        *held.shops.entry(shop.to_owned()).or_default() += 1;
        Ok(Ticket { gate: Arc::clone(self), shop: shop.to_owned(), tokens })
    }

    /// Hears how fast it goes: so many tokens were read or written by one run in that time.
    pub(crate) fn measured(&self, tokens: usize, took: Duration) {
        let speed = tokens as f64 / took.as_secs_f64().max(0.001);
        let mut held = self.held();
        held.speed = if held.speed > 0.0 { held.speed * 0.98 + speed * 0.02 } else { speed };
    }

    /// What is here.
    pub(crate) fn load(&self) -> Load {
        self.held().all
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        let mut held = self.gate.held();
        held.all.requests -= 1;
        held.all.tokens -= self.tokens;
        if let Some(count) = held.shops.get_mut(&self.shop) {
            *count -= 1;
            if *count == 0 {
                held.shops.remove(&self.shop);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_class_has_room_that_the_lower_ones_leave() {
        let gate = Gate::new(Load { requests: 8, tokens: 8000 });
        let enter = |class, tokens| gate.enter(class, "a", tokens);
        let batch: Vec<_> = (0..4).map(|_| enter(Class::Batch, 1000).expect("room")).collect();
        let full = enter(Class::Batch, 1).map(|_| ()).expect_err("full");
        let ModelError::QueueFull { waiting: 4, retry_after } = full else { panic!("{full}") };
        assert_eq!(retry_after, Duration::from_secs(40));
        let rules = [enter(Class::Rule, 1000).expect("room"), enter(Class::Rule, 1000).expect("room")];
        assert!(enter(Class::Rule, 1).is_err());
        // Tokens count as well as requests.
        assert!(enter(Class::Person, 2001).is_err());
        let people = [enter(Class::Person, 1000).expect("room"), enter(Class::Person, 1).expect("room")];
        assert!(enter(Class::Person, 1).is_err());
        // Another shop is let in, once.
        let other = gate.enter(Class::Batch, "b", 500).expect("its first");
        assert!(gate.enter(Class::Batch, "b", 1).is_err());
        drop((batch, rules, people, other));
        assert_eq!(gate.load(), Load::default());
        gate.measured(1000, Duration::from_secs(1));
        assert!(enter(Class::Batch, 4000).is_ok());
    }
}
