//! What stands before the handlers: the token, the time limit, the net under a panic.

use std::any::Any;
use std::future::{Future, poll_fn};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, Uri, header};
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};

use super::problem::Problem;
use super::{Http, tokens};

/// Whose token a request carries: who did what is on record.
#[derive(Clone, Debug)]
pub(super) struct Who(pub(super) String);

/// Lets a request through that carries a live token.
pub(super) async fn with_token(
    State(http): State<Arc<Http>>,
    mut request: Request,
    next: Next,
) -> Result<Response, Problem> {
    let live = http.tokens.list().await.map_err(|error| Problem::internal(&error.to_string()))?;
    let given = bearer(request.headers()).ok_or_else(|| refuse("no bearer token was given"))?;
    match tokens::find(&live, given) {
        Some(token) => {
            tracing::debug!(token = token.name, path = request.uri().path(), "asked");
            let who = Who(token.name.clone());
            request.extensions_mut().insert(who);
            Ok(next.run(request).await)
        }
        None => Err(refuse("this token is not known, or was revoked")),
    }
}

fn bearer(headers: &HeaderMap) -> Option<&str> {
    let (scheme, token) = headers.get(header::AUTHORIZATION)?.to_str().ok()?.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
}

fn refuse(detail: &str) -> Problem {
    Problem::new(StatusCode::UNAUTHORIZED, "token_needed", "A token is needed")
        .detail(detail)
        .hint("send `Authorization: Bearer TOKEN`; `storehand token new NAME` makes one")
        .header(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"))
}

/// Gives an answer up that takes too long.
pub(super) async fn in_time(
    State(patience): State<Duration>,
    request: Request,
    next: Next,
) -> Result<Response, Problem> {
    tokio::time::timeout(patience, next.run(request)).await.map_err(|_| {
        Problem::new(StatusCode::GATEWAY_TIMEOUT, "answer_timeout", "The answer took too long")
            .detail(format!("there was none after {} s", patience.as_secs()))
            .hint("ask for less at a time (`limit=`), or try again")
    })
}

/// Turns a panic into an answer: one broken request must not look like a dead server.
pub(super) async fn catch_panics(request: Request, next: Next) -> Response {
    let place = format_args!("{} {}", request.method(), request.uri().path()).to_string();
    match unwinding(next.run(request)).await {
        Ok(response) => response,
        Err(panic) => {
            let said = panic.downcast_ref::<&str>().copied().or(panic.downcast_ref::<String>().map(String::as_str));
            tracing::error!(place, said, "a request panicked");
            Problem::new(StatusCode::INTERNAL_SERVER_ERROR, "panic", "Something broke in here")
                .detail("the request was not carried out to its end; the server goes on")
                .hint("please report this with what the log says")
                .into_response()
        }
    }
}

/// Runs a future and hands a panic within it back. The future is not polled again.
async fn unwinding<F: Future>(future: F) -> Result<F::Output, Box<dyn Any + Send>> {
    let mut future = pin!(future);
    poll_fn(|context| match catch_unwind(AssertUnwindSafe(|| future.as_mut().poll(context))) {
        Ok(Poll::Pending) => Poll::Pending,
        Ok(Poll::Ready(output)) => Poll::Ready(Ok(output)),
        Err(panic) => Poll::Ready(Err(panic)),
    })
    .await
}

pub(super) async fn no_such_page(uri: Uri) -> Problem {
    Problem::new(StatusCode::NOT_FOUND, "no_such_page", "There is nothing here")
        .detail(format!("`{}` is no address of this server", uri.path().chars().take(200).collect::<String>()))
        .hint("deliveries go to /hooks/SHOP/SOURCE, events to /v1/events")
}

pub(super) async fn no_such_method(method: Method, uri: Uri) -> Problem {
    Problem::new(StatusCode::METHOD_NOT_ALLOWED, "no_such_method", "This cannot be done here")
        .detail(format!("{method} is not known at `{}`", uri.path()))
        .hint("the Allow header names what is")
}
