//! The hostile zoo: components that do whatever harms. Each ends its own call, with an error of its own; the plugin
//! beside it goes on, and the process holds no more than before.

use std::fs;

use storehand::plugins::Grant;

use super::*;

/// A plugin that behaves, after all the others.
const GOOD: &str = "(call $good (i32.const 1032) (i32.const 6))";

/// What becomes of one pass of a component, on a host of its own.
fn ends(body: &str, beside: &str) -> String {
    ends_with("memory_mib = 16, time_ms = 100, calls = 20", body, beside)
}

fn ends_with(limits: &str, body: &str, beside: &str) -> String {
    let wants = r#"{ capability = "order.get", why = "Asks." }"#;
    let host = host();
    let bad = plugin(&host, &manifest(wants, limits), &component(body, beside)).expect("it compiles");
    let good = plugin(&host, &manifest("", ""), &component(GOOD, "")).expect("it compiles");
    let (bad, good) = (program(host.clone(), bad), program(host, good));
    let came = pass(&*bad, &Doorkeeper::default());
    assert_eq!(
        pass(&*good, &Doorkeeper::default()),
        Ran::Answered(Answer::Done("fine".into())),
        "the next one is well"
    );
    match came {
        Ran::Answered(Answer::Failed(failure)) => {
            assert_eq!(failure.code, "plugin_broke", "{failure}");
            let message = failure.message.strip_prefix("the plugin `the-zoo`: ").expect("it names the plugin");
            message.to_owned()
        }
        other => panic!("{other:?}"),
    }
}

/// The memory that this process holds, in KiB.
fn resident_kib() -> u64 {
    let status = fs::read_to_string("/proc/self/status").expect("Linux says it");
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("it is there");
    line.trim().trim_end_matches(" kB").parse().expect("a number")
}

#[test]
fn one_that_behaves_answers() {
    let host = host();
    assert!(host.is_pooled(), "this machine has the address space");
    let good = plugin(&host, &manifest("", ""), &component(GOOD, "")).expect("it compiles");
    let door = Doorkeeper::default();
    assert_eq!(pass(&*program(host, good), &door), Ran::Answered(Answer::Done("fine".into())));
    assert!(door.0.lock().expect("asked").is_empty());
}

#[test]
fn without_a_pool_it_runs_as_well() {
    let host = Host::new(Metering::Off, Pooling::Off).expect("a host");
    assert!(!host.is_pooled());
    let good = plugin(&host, &manifest("", ""), &component(GOOD, "")).expect("it compiles");
    assert_eq!(pass(&*program(host, good), &Doorkeeper::default()), Ran::Answered(Answer::Done("fine".into())));
}

#[test]
fn an_endless_loop() {
    assert_eq!(ends("(loop $on (br $on)) unreachable", ""), "it took longer than the 100 ms that one pass may take");
}

#[test]
fn endless_calls() {
    let body = "(loop $on (call $ask_plainly (i32.const 1040) (i32.const 9)) (br $on)) unreachable";
    assert_eq!(ends(body, ""), "it makes more than the 20 calls that it may make");
}

#[test]
fn a_memory_bomb() {
    let body = "(loop $on (drop (call $realloc (i32.const 0) (i32.const 0) (i32.const 1) (i32.const 1000000))) (br $on)) unreachable";
    assert_eq!(ends(body, ""), "it wants more than the 16 MiB of memory that it has");
}

#[test]
fn a_table_bomb() {
    let beside = "(table $t 1 funcref) (elem declare func $deep) (func $deep)";
    let body = "(if (i32.eq (i32.const -1) (table.grow $t (ref.func $deep) (i32.const 100000000))) (then unreachable)) (call $good (i32.const 1032) (i32.const 6))";
    assert_eq!(ends(body, beside), "it wants more than the 16 MiB of memory that it has");
}

#[test]
fn deep_recursion() {
    let beside = "(func $deep (param i64) (result i64) (i64.add (i64.const 1) (call $deep (i64.add (local.get 0) (i64.const 1)))))";
    let body = "(drop (call $deep (i64.const 0))) unreachable";
    assert_eq!(ends(body, beside), "it called itself too deep: its stack is used up");
}

#[test]
fn an_answer_of_100_mb() {
    let body = "(call $good (call $realloc (i32.const 0) (i32.const 0) (i32.const 1) (i32.const 100000000)) (i32.const 100000000))";
    let limits = "memory_mib = 200, time_ms = 2000";
    assert_eq!(ends_with(limits, body, ""), "it handed over more than 8 MiB at once");
    assert_eq!(ends(body, ""), "it wants more than the 16 MiB of memory that it has");
}

#[test]
fn an_answer_of_half_a_mb() {
    let body =
        "(call $good (call $realloc (i32.const 0) (i32.const 0) (i32.const 1) (i32.const 500000)) (i32.const 500000))";
    assert_eq!(ends(body, ""), "its answer has more than 256 KiB");
}

#[test]
fn a_question_of_half_a_mb() {
    let body = "(call $ask (i32.const 1040) (i32.const 9) (call $realloc (i32.const 0) (i32.const 0) (i32.const 1) (i32.const 500000)) (i32.const 500000)
        (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 64)) unreachable";
    assert_eq!(ends(body, ""), "it asks with more than 256 KiB at once");
}

#[test]
fn what_is_not_utf_8() {
    assert_eq!(ends("(call $good (i32.const 1072) (i32.const 3))", ""), "it handed over a text that is not UTF-8");
    let asks = "(call $ask_plainly (i32.const 1072) (i32.const 3)) unreachable";
    assert_eq!(ends(asks, ""), "it handed over a text that is not UTF-8");
}

#[test]
fn an_answer_that_is_no_json() {
    let came = ends("(call $good (i32.const 1104) (i32.const 8))", "");
    assert!(came.starts_with("its answer is no JSON"), "{came}");
}

#[test]
fn an_answer_outside_its_memory() {
    let came = ends("(call $good (i32.const 2000000000) (i32.const 8))", "");
    assert!(came.starts_with("it broke off: ") && came.contains("bounds"), "{came}");
}

#[test]
fn a_million_log_lines() {
    let body = "(local $i i32) (loop $on (call $log (i32.const 1088) (i32.const 6))
        (br_if $on (i32.lt_u (local.tee $i (i32.add (local.get $i) (i32.const 1))) (i32.const 1000000)))) (call $good (i32.const 1032) (i32.const 6))";
    assert_eq!(ends(body, ""), "it writes more than the 100 log lines that it may write");
}

#[test]
fn a_panic() {
    assert_eq!(ends("unreachable", ""), "it broke off (a panic, or `unreachable`)");
    let body = "(drop (i32.div_u (i32.const 1) (i32.load (i32.const 8)))) unreachable";
    assert_eq!(ends(body, ""), "it broke off: integer divide by zero");
}

#[test]
fn a_call_without_an_answer_ends_the_pass_and_breaks_nothing() {
    let host = host();
    let body = "(call $ask_plainly (i32.const 1056) (i32.const 9)) (call $good (i32.const 1032) (i32.const 6))";
    let wants = r#"{ capability = "order.tag", why = "Tags." }"#;
    let waits = plugin(&host, &manifest(wants, ""), &component(body, "")).expect("it compiles");
    let (program, door) = (program(host, waits), Doorkeeper::default());
    for _ in 0..10 {
        assert_eq!(pass(&*program, &door), Ran::Waiting);
    }
    let asked = door.0.lock().expect("asked");
    assert!(
        asked.len() == 10 && asked.iter().all(|it| *it == ("1".into(), "order.tag".into(), json!({}))),
        "{asked:?}"
    );
}

#[test]
fn who_keeps_breaking_off_is_suspended_and_says_so() {
    let host = host();
    let bad = plugin(&host, &manifest("", ""), &component("unreachable", "")).expect("it compiles");
    let program = program(host, bad);
    for _ in 0..5 {
        assert!(matches!(pass(&*program, &Doorkeeper::default()), Ran::Answered(Answer::Failed(_))));
    }
    let Ran::Later(pause, why) = pass(&*program, &Doorkeeper::default()) else { panic!("it is suspended") };
    assert!(pause.as_secs() > 50 && pause.as_secs() <= 60, "{pause:?}");
    assert_eq!(
        why,
        "`the-zoo 1.0.0` is suspended after it broke off 5 times in a row: it broke off (a panic, or `unreachable`)"
    );
}

#[test]
fn what_was_not_granted_is_denied_by_name() {
    let host = host();
    let wants = r#"{ capability = "order.get", why = "A." }, { capability = "http.request", why = "B." },
        { host = "api.example.com", why = "C." }, { capability = "memory.add", why = "D." }"#;
    let text = manifest(wants, "");
    let digest = Manifest::read(Path::new("plugin.toml"), &text).expect("a manifest").wants_digest();
    let granted = |shop: &str, grant: Option<Grant>| {
        let plugins = grant.map(|grant| ("the-zoo".to_owned(), grant)).into_iter().collect();
        Grants::new(BTreeMap::from([(shop.parse().expect("a shop"), plugins)]))
    };
    let program = |grants: Grants| {
        let good = plugin(&host, &text, &component(GOOD, "")).expect("it compiles");
        let plugins = Plugins::of(host.clone(), vec![good], grants, None);
        plugins.capabilities(&|_| true).remove(0).program(None).expect("a program").expect("its version")
    };
    let some =
        Grant { granted: ["order.get", "http.request", "memory.add"].map(str::to_owned).into(), wants: Some(digest) };
    let only_some = program(granted("acme", Some(some.clone())));
    let may = |capability: &str, input: Json| only_some.may_ask(&facts(), capability, &input).map_err(|it| it.message);
    assert_eq!(may("order.get", json!({})), Ok(()));
    assert_eq!(may("log", json!({})), Ok(()));
    for (capability, input, why) in [
        ("order.tag", json!({}), "the manifest of `the-zoo` does not want `order.tag`"),
        (
            "http.request",
            json!({ "url": "https://api.example.com/x" }),
            "the shop has not granted `host:api.example.com` to the plugin `the-zoo`",
        ),
        (
            "http.request",
            json!({ "url": "https://other.example/x" }),
            "the manifest of `the-zoo` does not want `host:other.example`",
        ),
        (
            "http.request",
            json!({ "url": "https://api.example.com@10.0.0.1/x" }),
            "a plugin speaks to hosts by name, over HTTPS and its usual port, and not to `https://api.example.com@10.0.0.1/x`",
        ),
        (
            "http.request",
            json!({ "url": "http://api.example.com/x" }),
            "a plugin speaks to hosts by name, over HTTPS and its usual port, and not to `http://api.example.com/x`",
        ),
        (
            "http.request",
            json!({ "url": "https://169.254.169.254/latest" }),
            "a plugin speaks to hosts by name, over HTTPS and its usual port, and not to `https://169.254.169.254/latest`",
        ),
        (
            "http.request",
            json!({ "url": "https://[::1]/" }),
            "a plugin speaks to hosts by name, over HTTPS and its usual port, and not to `https://[::1]/`",
        ),
        (
            "http.request",
            json!({ "url": "https://2130706433/" }),
            "a plugin speaks to hosts by name, over HTTPS and its usual port, and not to `https://2130706433/`",
        ),
        (
            "http.request",
            json!({ "url": "https://localhost/" }),
            "the manifest of `the-zoo` does not want `host:localhost`",
        ),
        (
            "memory.add",
            json!({ "key": "coupons/115" }),
            "`the-zoo` may use keys that begin with `the-zoo/`, and `coupons/115` does not",
        ),
    ] {
        assert_eq!(may(capability, input), Err(why.to_owned()));
    }
    assert_eq!(may("memory.add", json!({ "key": "the-zoo/points/115" })), Ok(()));
    let ends = |grants| match pass(&*program(grants), &Doorkeeper::default()) {
        Ran::Answered(Answer::Failed(failure)) => (failure.code, failure.message),
        other => panic!("{other:?}"),
    };
    let (code, message) = ends(granted("acme", None));
    assert_eq!(code, "denied");
    assert!(message.starts_with("the shop has not granted the plugin `the-zoo` anything"), "{message}");
    let (_, message) = ends(granted("acme", Some(Grant { wants: Some("an older one".into()), ..some })));
    assert!(message.starts_with("`the-zoo` 1.0.0 wants something else than what the shop has granted"), "{message}");
}

#[test]
fn components_that_are_none_for_this_host_say_why() {
    let host = host();
    let why = |component: &[u8]| match plugin(&host, &manifest("", ""), component) {
        Ok(_) => panic!("it must not be taken"),
        Err(error) => error.to_string(),
    };
    let good = component(GOOD, "");
    let cut = why(&good[..good.len() / 2]);
    assert!(cut.contains("the file is cut off") || cut.contains("it cannot be compiled"), "{cut}");
    assert!(why(b"").contains("this is no WebAssembly"));
    assert!(why(b"#!/bin/sh\nrm -rf /\n").contains("this is no WebAssembly"));
    assert!(why(&wat::parse_str("(module)").expect("a module")).contains("this is a core module"));
    assert!(why(&wat::parse_str("(component)").expect("a component")).contains("it exports neither"));
    let other = encode(&WIT.replace("@0.1.0", "@0.2.0"), &core("0.2.0", GOOD, ""));
    let expected = "it was built for version 0.2.0 of the plugin interface; this Storehand speaks 0.1.0";
    assert!(why(&other).contains(expected), "{}", why(&other));

    let more = WIT
        .replace("world capability {", "interface back-door { open: func(); }\nworld capability {\n import back-door;");
    let opens = core("0.1.0", &format!("(call $open) {GOOD}"), "").replacen(
        "(memory",
        "(import \"storehand:plugin/back-door@0.1.0\" \"open\" (func $open)) (memory",
        1,
    );
    let came = why(&encode(&more, &opens));
    assert!(came.contains("it imports `storehand:plugin/back-door@0.1.0`, which is not here"), "{came}");

    let more = WIT.replace("now: func() -> u64;", "now: func() -> u64;\n open: func();");
    let opens = opens.replace("back-door", "door");
    let came = why(&encode(&more, &opens));
    assert!(
        came.contains("it imports `open` of `storehand:plugin/door@0.1.0`, and there is no such function"),
        "{came}"
    );

    let same = WIT.replace("now: func() -> u64;", "now: func() -> u32;");
    let core = core("0.1.0", GOOD, "").replace("(func $now (result i64))", "(func $now (result i32))");
    let came = why(&encode(&same, &core));
    assert!(came.contains("it does not fit this host"), "{came}");
}

#[test]
fn after_hundreds_of_them_the_process_holds_what_it_held() {
    let host = host();
    let limits = "memory_mib = 64, time_ms = 50, calls = 20";
    let bomb = "(loop $on (memory.fill (call $realloc (i32.const 0) (i32.const 0) (i32.const 1) (i32.const 1000000)) (i32.const 7) (i32.const 1000000)) (br $on)) unreachable";
    let bodies = [bomb, "unreachable", "(call $good (i32.const 1072) (i32.const 3))"];
    let bad = bodies.map(|body| plugin(&host, &manifest("", limits), &component(body, "")).expect("it compiles"));
    let good = plugin(&host, &manifest("", ""), &component(GOOD, "")).expect("it compiles");
    let good = program(host.clone(), good);
    let plugins = bad.map(Arc::new);
    let once = || {
        for plugin in &plugins {
            // Each time on a new record, so that none is suspended.
            let plugins = Plugins::of_shared(host.clone(), vec![plugin.clone()], Grants::default());
            let program = plugins.capabilities(&|_| true).remove(0).program(None).expect("a program").expect("it");
            assert!(matches!(pass(&*program, &Doorkeeper::default()), Ran::Answered(Answer::Failed(_))));
        }
    };
    once();
    let before = resident_kib();
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| (0..25).for_each(|_| once()));
        }
        for _ in 0..100 {
            assert_eq!(pass(&*good, &Doorkeeper::default()), Ran::Answered(Answer::Done("fine".into())));
        }
    });
    let after = resident_kib();
    assert!(after < before + (64 << 10), "it held {before} KiB before and {after} KiB after");
}
