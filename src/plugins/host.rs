//! The engine that runs components: its settings, and the clock that ends what takes too long.

use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::Duration;

use wasmtime::{Config, Enabled, Engine, InstanceAllocationStrategy, PoolingAllocationConfig, RegallocAlgorithm};

use super::PluginError;
use super::manifest::{MOST_MEMORY_MIB, MOST_TABLE_ELEMENTS};

/// How often the clock looks.
const TICK: Duration = Duration::from_millis(5);

/// Instances that there may be at once, of all plugins together; more wait for one to end.
const INSTANCES: u32 = 64;

/// What an instance may use of the thread's stack. A thread has 2 MiB.
const STACK: usize = 512 << 10;

/// Whether instructions are counted: for tests of plugins, at a third of the speed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Metering {
    /// Only time is.
    #[default]
    Off,
    /// They are.
    On,
}

/// Whether instances take their memory from a pool.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Pooling {
    /// Where this machine has the address space for it.
    #[default]
    Probe,
    /// No.
    Off,
}

/// Runs components. Clones share it.
#[derive(Clone)]
pub struct Host {
    pub(super) engine: Engine,
    clock: Arc<Clock>,
    pub(super) metering: Metering,
    is_pooled: bool,
}

impl Host {
    /// A host with its clock.
    ///
    /// # Errors
    /// [`PluginError::Host`].
    pub fn new(metering: Metering, pooling: Pooling) -> Result<Self, PluginError> {
        let mut pooled = config(metering);
        pooled.allocation_strategy(InstanceAllocationStrategy::Pooling(pool()));
        let pooled = match pooling {
            Pooling::Probe => Engine::new(&pooled).inspect_err(|error| {
                tracing::warn!(%error, "no pool of instances for plugins: each run takes its memory anew");
            }),
            Pooling::Off => Err(wasmtime::Error::msg("not asked for")),
        };
        let is_pooled = pooled.is_ok();
        let engine = match pooled {
            Ok(engine) => engine,
            Err(_) => Engine::new(&config(metering)).map_err(|error| PluginError::Host(format!("{error:#}")))?,
        };
        let clock = Clock::start(&engine)?;
        Ok(Self { engine, clock: Arc::new(clock), metering, is_pooled })
    }

    /// Whether instances come from a pool.
    pub fn is_pooled(&self) -> bool {
        self.is_pooled
    }

    /// Has the clock run while the result lives.
    pub(super) fn running(&self) -> Running<'_> {
        self.clock.shared.change(|active| active.running += 1);
        Running(&self.clock)
    }

    /// How many looks of the clock come to this time.
    pub(super) fn ticks(time: Duration) -> u64 {
        // One is under way already.
        u64::try_from(time.as_millis().div_ceil(TICK.as_millis())).unwrap_or(u64::MAX / 2) + 1
    }
}

fn config(metering: Metering) -> Config {
    let mut config = Config::new();
    config
        .wasm_component_model(true)
        .concurrency_support(false)
        .epoch_interruption(true)
        .consume_fuel(metering == Metering::On)
        .max_wasm_stack(STACK)
        .wasm_relaxed_simd(false)
        // The same bits everywhere: a replay may run on another machine.
        .cranelift_nan_canonicalization(true)
        .cranelift_regalloc_algorithm(RegallocAlgorithm::Backtracking)
        .memory_reservation(4 << 30);
    config
}

/// As measured: whole slots of 4 GiB, so that no access is checked, with what an instance usually touches kept.
fn pool() -> PoolingAllocationConfig {
    let mut pool = PoolingAllocationConfig::new();
    pool.total_component_instances(INSTANCES)
        .max_core_instances_per_component(64)
        .total_core_instances(INSTANCES * 8)
        .max_memories_per_component(4)
        .total_memories(INSTANCES * 2)
        .max_tables_per_component(16)
        .total_tables(INSTANCES * 4)
        .table_elements(MOST_TABLE_ELEMENTS)
        .max_memory_size(MOST_MEMORY_MIB << 20)
        .linear_memory_keep_resident(128 << 10)
        .table_keep_resident(64 << 10)
        .pagemap_scan(Enabled::Auto);
    pool
}

/// Ends what takes too long. It sleeps while nothing runs.
struct Clock {
    shared: Arc<Shared>,
    thread: Option<std::thread::JoinHandle<()>>,
}

#[derive(Default)]
struct Shared(Mutex<Active>, Condvar);

#[derive(Default)]
struct Active {
    running: usize,
    is_closed: bool,
}

impl Shared {
    fn change(&self, change: impl FnOnce(&mut Active)) {
        change(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner));
        self.1.notify_one();
    }
}

impl Clock {
    fn start(engine: &Engine) -> Result<Self, PluginError> {
        let shared = Arc::<Shared>::default();
        let (engine, it) = (engine.weak(), shared.clone());
        let tick = move || {
            loop {
                let active = it.0.lock().unwrap_or_else(PoisonError::into_inner);
                let idle = |active: &mut Active| active.running == 0 && !active.is_closed;
                let active = it.1.wait_while(active, idle).unwrap_or_else(PoisonError::into_inner);
                if active.is_closed {
                    return;
                }
                drop(active);
                std::thread::sleep(TICK);
                match engine.upgrade() {
                    Some(engine) => engine.increment_epoch(),
                    None => return,
                }
            }
        };
        let thread = std::thread::Builder::new().name("plugin-clock".into()).spawn(tick);
        let thread = thread.map_err(|error| PluginError::Host(format!("no thread for the clock: {error}")))?;
        Ok(Self { shared, thread: Some(thread) })
    }
}

impl Drop for Clock {
    fn drop(&mut self) {
        self.shared.change(|active| active.is_closed = true);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// Something runs, and the clock with it.
pub(super) struct Running<'a>(&'a Clock);

impl Drop for Running<'_> {
    fn drop(&mut self) {
        self.0.shared.change(|active| active.running = active.running.saturating_sub(1));
    }
}
