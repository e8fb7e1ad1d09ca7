//! Who tells the time: the machine, or a test.

use std::sync::Mutex;

use async_trait::async_trait;
use jiff::Timestamp;
use tokio::sync::watch;

/// Tells the time and waits for a moment. Everything that acts on time is handed one.
#[async_trait]
pub trait Clock: Send + Sync {
    /// Now.
    fn now(&self) -> Timestamp;
    /// Returns at `moment` or a little later; at once where it has passed.
    async fn sleep_until(&self, moment: Timestamp);
}

/// The machine's clock.
#[derive(Debug, Default, Clone, Copy)]
pub struct SystemClock;

#[async_trait]
impl Clock for SystemClock {
    fn now(&self) -> Timestamp {
        Timestamp::now()
    }

    async fn sleep_until(&self, moment: Timestamp) {
        let left = moment.as_millisecond() - self.now().as_millisecond();
        // One day at a time: the machine's clock may be set meanwhile.
        let step = u64::try_from(left).unwrap_or(0).min(24 * 3600 * 1000);
        tokio::time::sleep(std::time::Duration::from_millis(step)).await;
    }
}

/// A clock that stands still until it is moved.
#[derive(Debug)]
pub struct ManualClock {
    moved: watch::Sender<Timestamp>,
    // Moving reads and writes: two movers must not lose a step.
    moving: Mutex<()>,
}

impl ManualClock {
    /// A clock that shows `start`.
    pub fn new(start: Timestamp) -> Self {
        Self { moved: watch::Sender::new(start), moving: Mutex::new(()) }
    }

    /// Moves it forward and wakes those whose moment has come.
    pub fn advance(&self, by: std::time::Duration) {
        let _guard = self.moving.lock();
        let now = *self.moved.borrow();
        let next = now.checked_add(jiff::SignedDuration::try_from(by).unwrap_or(jiff::SignedDuration::MAX));
        self.moved.send_replace(next.unwrap_or(Timestamp::MAX));
    }
}

#[async_trait]
impl Clock for ManualClock {
    fn now(&self) -> Timestamp {
        *self.moved.borrow()
    }

    async fn sleep_until(&self, moment: Timestamp) {
        // The sender lives as long as `self`, so waiting cannot fail.
        let _ = self.moved.subscribe().wait_for(|now| *now >= moment).await;
    }
}
