//! One pass of a component: a fresh instance is asked one thing.

use std::borrow::Cow;
use std::time::Duration;

use serde_json::Value as Json;
use wasmtime::component::{ComponentNamedList, Instance, Lift, Lower, TypedFunc, WasmStr};
use wasmtime::{Result, Store, StoreContextMut};

use super::border::{self, MOST_AT_ONCE, MOST_JSON, MOST_LINE, MOST_LINES, MOST_NAME};
use super::broken::Broken;
use super::component::Loaded;
use super::host::{Host, Metering};
use super::state::{State, Stop, Used};
use crate::domain::{Answer, AskOptions, Asked, Retry};

/// Instructions that a metered pass may use: time ends it long before.
const FUEL: u64 = u64::MAX / 2;

/// Runs one function of a fresh instance. The instance is gone when this returns.
pub(super) fn run<P, R>(host: &Host, loaded: &Loaded, state: State, params: P) -> (Result<R, Broken>, Used)
where
    P: ComponentNamedList + Lower + Send + Sync,
    R: Lift + Send + Sync + 'static,
    (R,): ComponentNamedList + Lift,
{
    let mut store = match store(host, state) {
        Ok(store) => store,
        Err(error) => return (Err(Broken::Off(format!("{error:#}"))), Used::default()),
    };
    let _running = host.running();
    let result = begin(&mut store, loaded).and_then(|function: TypedFunc<P, (R,)>| function.call(&mut store, params));
    let result = result.map(|(answer,)| answer).map_err(|error| Broken::of(&error, store.data()));
    let fuel = (host.metering == Metering::On).then(|| FUEL - store.get_fuel().unwrap_or(FUEL));
    let state = store.data();
    (result, Used { memory: state.memory.peak, fuel, calls: state.calls })
}

/// Makes an instance and drops it.
pub(super) fn start(host: &Host, loaded: &Loaded, state: State) -> Result<(), String> {
    let mut store = store(host, state).map_err(|error| format!("{error:#}"))?;
    let _running = host.running();
    match loaded.pre.instantiate(&mut store) {
        Ok(_) => Ok(()),
        Err(error) => Err(match Broken::of(&error, store.data()) {
            Broken::Off(why) | Broken::NoRoom(why) => why,
            Broken::NotYet => "it asks for something before it is asked".to_owned(),
        }),
    }
}

/// A store whose bounds are set.
pub(super) fn store(host: &Host, state: State) -> Result<Store<State>> {
    let mut store = Store::new(&host.engine, state);
    store.limiter(|state| &mut state.memory);
    store.epoch_deadline_trap();
    bound(&mut store);
    if host.metering == Metering::On {
        store.set_fuel(FUEL)?;
    }
    Ok(store)
}

/// Gives a store the time and the data of one pass.
pub(super) fn bound(store: &mut Store<State>) {
    let ticks = Host::ticks(store.data().bounds.time());
    store.set_hostcall_fuel(MOST_AT_ONCE);
    store.set_epoch_deadline(ticks);
}

pub(super) fn begin<P, R>(store: &mut Store<State>, loaded: &Loaded) -> Result<TypedFunc<P, (R,)>>
where
    P: ComponentNamedList + Lower,
    (R,): ComponentNamedList + Lift,
{
    let instance: Instance = loaded.pre.instantiate(&mut *store)?;
    instance.get_typed_func::<P, (R,)>(&mut *store, loaded.function)
}

type Asking = (WasmStr, WasmStr, Option<border::Options>);

/// `door.ask`.
pub(super) fn ask(
    mut store: StoreContextMut<'_, State>,
    (capability, input, options): Asking,
) -> Result<(Result<String, border::Failure>,)> {
    let asked = {
        let capability = bounded(&store, &capability, MOST_NAME).map(|it| it.map(Cow::into_owned));
        let input = bounded(&store, &input, MOST_JSON).map(|it| it.map(|text| serde_json::from_str::<Json>(&text)));
        (capability?, input?)
    };
    let state = store.data_mut();
    let (Some(capability), Some(input)) = asked else {
        let what = format!("it asks with more than {} KiB at once", MOST_JSON >> 10);
        return Err(state.end(Stop::Over(what)));
    };
    state.calls += 1;
    if state.calls > state.bounds.calls {
        let what = format!("it makes more than the {} calls that it may make", state.bounds.calls);
        return Err(state.end(Stop::Over(what)));
    }
    let failed = |code: &str, message: String| Ok((Err(failure(code, message, &Json::Null)),));
    let input = match input {
        Ok(input) => input,
        Err(error) => return failed("invalid_input", format!("what `{capability}` is asked is no JSON: {error}")),
    };
    let options = match read(options) {
        Ok(options) => options,
        Err(message) => return failed("invalid_input", message),
    };
    let path = next_path(state);
    let Some(door) = state.door.as_mut() else {
        return failed("denied", "there is no door here".to_owned());
    };
    match door.ask(&path, &capability, input, options) {
        Asked::NotYet => Err(state.end(Stop::NotYet)),
        Asked::Answered(Answer::Done(answer)) => {
            let text = answer.to_string();
            if text.len() > MOST_JSON {
                return failed("answer_too_large", format!("the answer has more than {} KiB", MOST_JSON >> 10));
            }
            Ok((Ok(text),))
        }
        Asked::Answered(Answer::Failed(it)) => Ok((Err(failure(&it.code, it.message, &it.detail)),)),
    }
}

/// `door.log`.
pub(super) fn log(mut store: StoreContextMut<'_, State>, (line,): (WasmStr,)) -> Result<()> {
    let line = line.to_str(&store).map(|line| line.chars().take(MOST_LINE).collect::<String>());
    let line = line?;
    let state = store.data_mut();
    state.lines += 1;
    if state.lines > MOST_LINES {
        return Err(state.end(Stop::Over(format!("it writes more than the {MOST_LINES} log lines that it may write"))));
    }
    let path = next_path(state);
    let Some(door) = state.door.as_mut() else { return Ok(()) };
    let input = serde_json::json!({ "message": line });
    match door.ask(&path, "log", input, AskOptions::default()) {
        Asked::NotYet => Err(state.end(Stop::NotYet)),
        Asked::Answered(_) => Ok(()),
    }
}

fn next_path(state: &mut State) -> String {
    state.path += 1;
    state.path.to_string()
}

/// A text of the component, `None` where it is longer than that.
fn bounded<'a>(store: &'a StoreContextMut<'_, State>, text: &WasmStr, most: usize) -> Result<Option<Cow<'a, str>>> {
    let text = text.to_str(store)?;
    Ok((text.len() <= most).then_some(text))
}

fn failure(code: &str, message: String, detail: &Json) -> border::Failure {
    border::Failure { code: code.to_owned(), message, detail: detail.to_string() }
}

fn read(options: Option<border::Options>) -> Result<AskOptions, String> {
    let Some(border::Options { label, attempts }) = options else { return Ok(AskOptions::default()) };
    let is_label = |label: &String| {
        let plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-');
        (1..=64).contains(&label.len()) && label.bytes().all(plain)
    };
    if label.as_ref().is_some_and(|label| !is_label(label)) {
        return Err("a `label` is 1 to 64 letters, digits, `_` or `-`".to_owned());
    }
    if attempts.is_some_and(|attempts| !(1..=20).contains(&attempts)) {
        return Err("`attempts` is a whole number from 1 to 20".to_owned());
    }
    let retry = attempts.map(|attempts| Retry { attempts, ..Retry::default() });
    Ok(AskOptions { retry, label, ..AskOptions::default() })
}

/// How long a component may want to wait before it is asked again.
pub(super) fn pause(seconds: u32) -> Duration {
    Duration::from_secs(u64::from(seconds).clamp(1, 7 * 86_400))
}
