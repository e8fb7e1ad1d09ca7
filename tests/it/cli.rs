//! The program as it is called: exit codes, and errors that say what to do.

use std::process::{Command, Output};

/// Runs the program in an empty folder, with none of the caller's settings.
pub(crate) fn storehand(args: &[&str], files: &[(&str, &str)], variables: &[(&str, &str)]) -> (i32, String, String) {
    let folder = tempfile::tempdir().expect("folder");
    for (name, text) in files {
        std::fs::write(folder.path().join(name), text).expect("file");
    }
    std::fs::create_dir(folder.path().join("rules")).expect("rules");
    let Output { status, stdout, stderr } = Command::new(env!("CARGO_BIN_EXE_storehand"))
        .args(args)
        .current_dir(folder.path())
        .env_clear()
        .envs(variables.iter().copied())
        .output()
        .expect("storehand");
    let text = |bytes| String::from_utf8(bytes).expect("text");
    (status.code().expect("no signal"), text(stdout), text(stderr))
}

const GOOD: &str = "[server]\nlisten = \"127.0.0.1:0\"\n[model]\nenabled = \"off\"\n[shop.acme]\ncurrency = \"EUR\"\n\
                    [shop.acme.sources.standard]\nsecrets = [\"env:S\"]\n";

#[test]
fn wrong_use_is_2_and_help_is_0() {
    assert_eq!(storehand(&["--help"], &[], &[]).0, 0);
    let (code, _, told) = storehand(&["evnts"], &[], &[]);
    assert_eq!((code, told.contains("events")), (2, true), "{told}");
    let (code, _, told) = storehand(&["token", "list"], &[("storehand.toml", "[server]\nlisten = 3\n")], &[]);
    assert_eq!((code, told.contains("storehand.toml:2: server.listen")), (2, true), "{told}");
}

/// None of these reaches a server: there is none.
#[test]
fn what_stops_retries_takes_back_and_decides_says_how_it_is_used() {
    for (args, wants) in [
        (&["rules", "pause"][..], "--all"),
        (&["rules", "pause", "tag", "--all"], "cannot be used with"),
        (&["rules", "pause", "tag", "--becuase", "x"], "--because"),
        (&["rules", "resume"], "--all"),
        (&["rules", "undo", "tag"], "--since <WHEN>"),
        (&["rules", "undo", "--since", "2h"], "<RULE>"),
        (&["runs", "retry"], "--dead"),
        (&["runs", "retry", "run_0c3k5m7q9s1t3", "--dead"], "cannot be used with"),
        (&["runs", "retry", "run_0c3k5m7q9s1t3", "--code", "refused"], "cannot be used with"),
        (&["runs", "drop"], "--dead"),
        (&["runs", "drop", "--rule", "tag"], "--dead"),
        (&["approvals", "accept", "run_0c3k5m7q9s1t3/ok", "--text", "-", "--happened"], "cannot be used with"),
        (&["approvals", "accept"], "<ID>"),
        (&["approvals", "reject"], "<ID>"),
        (&["approvals", "lst"], "list"),
        (&["rules", "rolback", "tag"], "rollback"),
        (&["rules", "activate", "tag", "--on-change", "perhaps"], "finish_old"),
    ] {
        let (code, said, told) = storehand(args, &[], &[]);
        assert_eq!((code, said.as_str()), (2, ""), "{args:?}: {told}");
        assert!(told.starts_with("error: ") && told.contains(wants) && told.contains("--help"), "{args:?}: {told}");
    }
}

#[test]
fn doctor_prints_origins_and_tells_good_from_bad() {
    let (code, said, _) = storehand(&["doctor"], &[("storehand.toml", GOOD)], &[("S", "whsec_eA==")]);
    assert_eq!(code, 0, "{said}");
    assert!(said.contains("••• (env:S)") && said.contains("storehand.toml:8") && !said.contains("whsec"), "{said}");
    let (code, said, _) = storehand(&["doctor", "--json"], &[("storehand.toml", GOOD)], &[]);
    assert_eq!(code, 1, "the secret is not there: {said}");
    let json: serde_json::Value = serde_json::from_str(&said).expect("json");
    assert!(json["findings"][0]["detail"].as_str().is_some_and(|text| text.contains("S is not set")), "{said}");
}

#[test]
fn a_server_that_is_not_there_is_said_so() {
    let variables = [("STOREHAND_TOKEN", "x"), ("STOREHAND_URL", "http://127.0.0.1:9")];
    let (code, _, told) = storehand(&["events", "list"], &[], &variables);
    assert_eq!((code, told.contains("hint: is the server running")), (1, true), "{told}");
    let (code, _, told) = storehand(&["runs", "list"], &[], &[]);
    assert_eq!((code, told.contains("STOREHAND_TOKEN")), (1, true), "{told}");
}

#[test]
fn a_token_is_shown_once_and_opens_nothing_once_revoked() {
    let folder = tempfile::tempdir().expect("folder");
    let file = folder.path().join("shop.toml");
    std::fs::write(&file, GOOD).expect("file");
    let file = file.to_str().expect("path");
    let run = |args: &[&str]| storehand(&[&["token"], args, &["--config", file]].concat(), &[], &[("S", "x")]);
    let (code, token, told) = run(&["new", "ci"]);
    assert_eq!((code, token.starts_with("storehand_")), (0, true), "{told}");
    assert_eq!(run(&["new", "ci"]).0, 1, "the name is taken");
    let (_, list, _) = run(&["list"]);
    assert!(list.contains("ci") && !list.contains(token.trim()), "{list}");
    assert_eq!(run(&["revoke", "ci"]).0, 0);
    assert_eq!(run(&["revoke", "ci"]).0, 1);
    assert!(!run(&["list"]).1.contains("ci"));
}
