//! What people ask of rules and runs: pauses, dead letters, taking back, approvals.

use super::*;

#[tokio::test]
async fn what_people_ask_of_rules_and_runs_names_its_shop_and_its_asker() {
    let door = door(&["acme", "other"]).await;
    let bearer = format!("Bearer {}", door.token);
    let headers = [("content-type", "application/json"), ("authorization", bearer.as_str())];
    let told = async |method: &str, path: &str, body: &str| -> Json {
        let response = door.ask(method, path, &headers, body.to_owned()).await;
        assert_eq!(response.status(), StatusCode::OK, "{method} {path}");
        serde_json::from_slice(&to_bytes(response.into_body(), 10_000).await.expect("body")).expect("json")
    };
    let pause = "/v1/rules/tag/pause?shop=acme";
    assert_eq!(told("POST", pause, r#"{"because":"no"}"#).await, json!({ "shops": [["acme", "test", "tag", "no"]] }));
    assert_eq!(told("POST", pause, r#"{"because":" "}"#).await, json!({ "shops": [["acme", "test", "tag", null]] }));
    let both = json!({ "shops": [["acme", "test", null, null], ["other", "test", null, null]] });
    assert_eq!(told("POST", "/v1/rules/*/pause", "{}").await, both, "whoever stops all is not asked for the shops");
    assert_eq!(told("POST", "/v1/rules/*/resume", "").await, json!({ "shops": [["acme", "test", null]] }));
    let run = RunId(7);
    assert_eq!(told("POST", &format!("/v1/runs/{run}/retry?shop=acme"), "").await, json!(["acme", "test", run]));
    let dead = "/v1/runs/dead/retry?shop=acme&rule=tag&code=refused";
    assert_eq!(told("POST", dead, "").await, json!(["acme", "tag", "refused"]));
    let undo = "/v1/rules/tag/undo?shop=acme&since=2h&until=1h";
    assert_eq!(told("GET", undo, "").await, json!(["tag", "2h", "1h", "Look"]));
    assert_eq!(told("POST", undo, "").await, json!(["tag", "2h", "1h", "TakeBack"]));
}

#[tokio::test]
async fn what_is_asked_wrongly_of_rules_and_runs_is_a_problem_like_any_other() {
    let door = door(&["acme", "other"]).await;
    let bearer = format!("Bearer {}", door.token);
    let headers = [("content-type", "application/json"), ("authorization", bearer.as_str())];
    let long = format!(r#"{{"because":"{}"}}"#, "x".repeat(2001));
    let run = RunId(7);
    let one = |verb: &str| format!("/v1/runs/{run}/{verb}");
    for (method, path, body, problem) in [
        ("POST", "/v1/rules/tag/pause", "{}", (400, "shop_needed")),
        ("POST", "/v1/rules/tag/pause?shop=nobody", "{}", (404, "no_such_shop")),
        ("POST", "/v1/rules/tag/pause?shops=acme", "{}", (400, "malformed_query")),
        ("POST", "/v1/rules/tag/pause?shop=acme", "", (400, "malformed_request")),
        ("POST", "/v1/rules/tag/pause?shop=acme", r#"{"why":"no"}"#, (400, "malformed_request")),
        ("POST", "/v1/rules/tag/pause?shop=acme", r#"{"because":7}"#, (400, "malformed_request")),
        ("POST", "/v1/rules/tag/pause?shop=acme", &long, (422, "invalid")),
        ("GET", "/v1/rules/tag/pause?shop=acme", "", (405, "no_such_method")),
        ("POST", "/v1/rules/tag/resume?shop=other", "", (409, "conflict")),
        ("POST", "/v1/rules/tag/resume?rule=tag", "", (400, "malformed_query")),
        ("POST", "/v1/rules/tag/undo?shop=acme", "", (400, "malformed_query")),
        ("GET", "/v1/rules/tag/undo?shop=acme&before=2h", "", (400, "malformed_query")),
        ("GET", "/v1/rules/tag/undo?since=2h", "", (400, "shop_needed")),
        ("POST", &one("drop?shop=acme"), "", (500, "internal")),
        ("POST", &one("drop?shop=acme&rule=tag"), "", (400, "malformed_request")),
        ("POST", &one("retry?shop=acme&codes=x"), "", (400, "malformed_query")),
        ("POST", "/v1/runs/7/retry?shop=acme", "", (400, "malformed_request")),
        ("POST", &one("forget"), "", (404, "no_such_page")),
    ] {
        door.problem((method, path), &headers, body.to_owned(), problem).await;
    }
    for (method, path) in [
        ("POST", "/v1/rules/tag/pause?shop=acme"),
        ("POST", "/v1/rules/*/resume"),
        ("GET", "/v1/rules/tag/undo?shop=acme&since=2h"),
        ("POST", "/v1/rules/tag/undo?shop=acme&since=2h"),
        ("POST", &one("retry?shop=acme")),
        ("POST", &one("drop?shop=acme")),
        ("GET", "/v1/approvals?shop=acme"),
        ("POST", &format!("/v1/approvals/{run}/ok?shop=acme")),
    ] {
        door.problem((method, path), &headers[..1], "{}", (401, "token_needed")).await;
        let wrong = [headers[0], ("authorization", "Bearer storehand_wrong")];
        door.problem((method, path), &wrong, "{}", (401, "token_needed")).await;
    }
}
