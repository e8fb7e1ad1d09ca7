//! What texts and lists can do beyond what Rhai gives them, and instead of it where Rhai's own would not do: it
//! changes texts of records in place, makes more than fits before it looks at the size, goes on where a function
//! that it calls was stopped, or takes a text for the name of a function.

use rhai::{Array, Dynamic, EvalAltResult, FnPtr, ImmutableString, Map, Module, NativeCallContext};

use super::bounds::{MAX_ITEMS, MAX_TEXT, too_large};
use super::language::{Native, set};
use super::value::{show, to_json};

pub(super) fn register(module: &mut Module) {
    texts(module);
    pieces(module);
    lists(module);
    sorting(module);
    written_out(module);
    by_name(module);
}

fn texts(module: &mut Module) {
    // Where Rhai changes a text in place, ours give a new one: texts of records cannot be changed.
    set(module, "replace", |text: &str, from: &str, to: &str| replace(text, from, to));
    set(module, "replace", |text: &str, from: char, to: &str| replace(text, from.encode_utf8(&mut [0; 4]), to));
    set(module, "replace", |text: &str, from: &str, to: char| replace(text, from, to.encode_utf8(&mut [0; 4])));
    set(module, "replace", |text: &str, from: char, to: char| {
        replace(text, from.encode_utf8(&mut [0; 4]), to.encode_utf8(&mut [0; 4]))
    });
    set(module, "trim", |text: &str| ImmutableString::from(text.trim()));
}

fn replace(text: &str, from: &str, to: &str) -> Native<ImmutableString> {
    within_size(text.len() + text.matches(from).count().saturating_mul(to.len()))?;
    Ok(text.replace(from, to).into())
}

fn within_size(bytes: usize) -> Native<()> {
    if bytes <= MAX_TEXT { Ok(()) } else { Err(too_large()) }
}

/// Cutting a text up. A text of 512 KB cut into its letters takes 30 MB.
fn pieces(module: &mut Module) {
    fn list(pieces: impl Iterator<Item = Dynamic>) -> Native<Array> {
        let list: Array = pieces.take(MAX_ITEMS + 1).collect();
        if list.len() <= MAX_ITEMS { Ok(list) } else { Err(too_large()) }
    }
    fn split(text: &str, between: &str, most: usize) -> Native<Array> {
        list(text.splitn(most, between).map(Into::into))
    }
    let at_least_one = |most: i64| usize::try_from(most).unwrap_or(0).max(1);
    set(module, "to_chars", |text: &str| list(text.chars().map(Into::into)));
    set(module, "split", |text: &str| match text {
        "" => list(std::iter::once(text.into())),
        _ => list(text.split_whitespace().map(Into::into)),
    });
    set(module, "split", |text: &str, between: &str| split(text, between, usize::MAX));
    set(module, "split", |text: &str, between: char| split(text, between.encode_utf8(&mut [0; 4]), usize::MAX));
    set(module, "split", move |text: &str, between: &str, most: i64| split(text, between, at_least_one(most)));
    set(module, "split", move |text: &str, between: char, most: i64| {
        split(text, between.encode_utf8(&mut [0; 4]), at_least_one(most))
    });
}

fn lists(module: &mut Module) {
    set(module, "join", |items: Array, between: &str| -> Native<ImmutableString> {
        let mut text = String::new();
        for (i, item) in items.iter().enumerate() {
            text.push_str(if i > 0 { between } else { "" });
            text.push_str(&show(item));
            within_size(text.len())?;
        }
        Ok(text.into())
    });
    set(module, "any", |context: NativeCallContext, items: Array, holds: FnPtr| -> Native<bool> {
        for item in items {
            if holds.call_within_context::<bool>(&context, (item,))? {
                return Ok(true);
            }
        }
        Ok(false)
    });
    set(module, "sum", |context: NativeCallContext, items: Array| -> Native<Dynamic> {
        let mut items = items.into_iter();
        let Some(mut sum) = items.next() else { return Ok(0_i64.into()) };
        for item in items {
            sum = context.call_native_fn::<Dynamic>("+", (sum, item))?;
        }
        Ok(sum)
    });
    set(module, "dedup", |context: NativeCallContext, items: &mut Array| {
        deduplicate(items, |a, b| match context.call_native_fn::<bool>("==", (a, b)) {
            // What does not compare is not the same.
            Err(error) if matches!(*error, EvalAltResult::ErrorFunctionNotFound(..)) => Ok(false),
            other => other,
        })
    });
    set(module, "dedup", |context: NativeCallContext, items: &mut Array, same: FnPtr| {
        deduplicate(items, |a, b| same.call_within_context::<bool>(&context, (a, b)))
    });
}

fn deduplicate(items: &mut Array, mut same: impl FnMut(Dynamic, Dynamic) -> Native<bool>) -> Native<()> {
    let mut kept = Array::new();
    for item in items.iter() {
        let is_same = match kept.last() {
            Some(last) => same(Dynamic::clone(last), item.clone())?,
            None => false,
        };
        if !is_same {
            kept.push(item.clone());
        }
    }
    *items = kept;
    Ok(())
}

fn sorting(module: &mut Module) {
    for name in ["sort", "sort_by"] {
        set(module, name, |context: NativeCallContext, items: &mut Array, by: FnPtr| -> Native<()> {
            *items = sorted(items.clone(), &mut |a, b| is_before(&context, &by, a, b))?;
            Ok(())
        });
    }
    for name in ["order", "order_by"] {
        set(module, name, |context: NativeCallContext, items: Array, by: FnPtr| {
            sorted(items, &mut |a, b| is_before(&context, &by, a, b))
        });
    }
}

/// What a comparison says: that `a` belongs before `b` by a number below zero, or by `true`.
fn is_before(context: &NativeCallContext<'_>, by: &FnPtr, a: &Dynamic, b: &Dynamic) -> Native<bool> {
    let said = by.call_within_context::<Dynamic>(context, (a.clone(), b.clone()))?;
    let is_before = said.as_int().map(|it| it < 0).or_else(|_| said.as_bool());
    is_before.map_err(|_| "a comparison gives a number, or whether the first belongs before the second".into())
}

/// Sorts by merging: what is alike stays in its order, and a comparison that contradicts itself gives some order.
fn sorted(mut items: Array, is_before: &mut dyn FnMut(&Dynamic, &Dynamic) -> Native<bool>) -> Native<Array> {
    if items.len() < 2 {
        return Ok(items);
    }
    let right = sorted(items.split_off(items.len() / 2), is_before)?;
    let left = sorted(items, is_before)?;
    let mut merged = Array::with_capacity(left.len() + right.len());
    let (mut left, mut right) = (left.into_iter().peekable(), right.into_iter().peekable());
    while let (Some(a), Some(b)) = (left.peek(), right.peek()) {
        merged.extend(if is_before(b, a)? { right.next() } else { left.next() });
    }
    merged.extend(left);
    merged.extend(right);
    Ok(merged)
}

/// Lists and maps as texts. Rhai's own writes each level of a nested value anew, and with no bound.
fn written_out(module: &mut Module) {
    fn text(value: &Dynamic) -> Native<ImmutableString> {
        let text = to_json(value)?.to_string();
        within_size(text.len())?;
        Ok(text.into())
    }
    for name in ["to_string", "to_debug"] {
        set(module, name, |items: Array| text(&items.into()));
        set(module, name, |map: Map| text(&map.into()));
    }
    set(module, "to_json", |map: Map| text(&map.into()));
}

/// Rhai lets a text name the function that a list is handed to, so that `tags.index_of("len")` would ask each tag
/// for its length, and `ask` could be called with a name that no check has seen.
fn by_name(module: &mut Module) {
    fn position(items: &Array, wanted: &str, start: i64) -> i64 {
        let len = i64::try_from(items.len()).unwrap_or(i64::MAX);
        let start = usize::try_from(if start < 0 { len.saturating_add(start) } else { start }).unwrap_or(0);
        let is_wanted = |item: &Dynamic| item.as_immutable_string_ref().is_ok_and(|text| *text == wanted);
        let found = items.iter().enumerate().skip(start).find(|(_, item)| is_wanted(item));
        found.and_then(|(at, _)| i64::try_from(at).ok()).unwrap_or(-1)
    }
    set(module, "index_of", |items: &mut Array, wanted: &str| position(items, wanted, 0));
    set(module, "index_of", |items: &mut Array, wanted: &str, start: i64| position(items, wanted, start));
    for name in ["map", "filter", "some", "all", "dedup", "reduce", "reduce_rev", "sort", "drain", "retain"] {
        let no = move || -> Native<()> { Err(format!("`{name}` wants a function; write `{name}(|item| …)`").into()) };
        set(module, name, move |_: &mut Array, _: &str| no());
        set(module, name, move |_: &mut Array, _: &str, _: Dynamic| no());
    }
}
