//! Answers as they are written: server-sent events, one a piece, `[DONE]` at the end.

use std::convert::Infallible;

use axum::body::{Body, Bytes};
use axum::http::header;
use axum::response::{IntoResponse, Response};
use serde_json::Value as Json;
use tokio::sync::mpsc::{UnboundedSender, unbounded_channel};
use tokio_stream::StreamExt as _;
use tokio_stream::wrappers::UnboundedReceiverStream;
use tokio_util::sync::CancellationToken;

use super::refused::Refusal;
use crate::models::{Generated, Model, ModelError, Request};

type Last = Box<dyn FnOnce(&Generated) -> Vec<Json> + Send>;

/// What a stream is made of.
pub(super) struct Shape {
    /// What comes before anything is written.
    pub(super) first: Option<Json>,
    /// A piece of the first answer.
    pub(super) piece: Box<dyn Fn(&str) -> Json + Send + Sync>,
    /// What comes when all is written.
    pub(super) last: Last,
    /// What comes where an answer that is held to a form was not complete in time.
    pub(super) unfinished: Json,
}

/// Starts an answer, and gives it as it is written. Who hangs up gives it up.
pub(super) fn start(model: Model, request: Request, shape: Shape) -> Response {
    let cancelled = CancellationToken::new();
    let hung_up = cancelled.clone().drop_guard();
    // Bounded by the tokens of one answer.
    let (pieces, written) = unbounded_channel();
    tokio::spawn(write(model, request, cancelled, shape, pieces));
    let body = UnboundedReceiverStream::new(written).map(move |piece| {
        // Lives as long as somebody reads.
        let _ = &hung_up;
        Ok::<_, Infallible>(piece)
    });
    let headers = [(header::CONTENT_TYPE, "text/event-stream"), (header::CACHE_CONTROL, "no-cache")];
    (headers, Body::from_stream(body)).into_response()
}

async fn write(
    model: Model,
    request: Request,
    cancelled: CancellationToken,
    shape: Shape,
    pieces: UnboundedSender<Bytes>,
) {
    let event = |json: &Json| Bytes::from(format!("data: {json}\n\n"));
    // Nobody may be there to hear any of it, which the token tells the model.
    let send = |json: &Json| drop(pieces.send(event(json)));
    if let Some(first) = &shape.first {
        send(first);
    }
    let generated = model.generate(request, &cancelled, |text| send(&(shape.piece)(text))).await;
    match generated {
        Ok(generated) => (shape.last)(&generated).iter().for_each(send),
        Err(ModelError::Unfinished { .. }) => send(&shape.unfinished),
        Err(error) => send(&Refusal::from(error).body()),
    }
    let _ = pieces.send(Bytes::from_static(b"data: [DONE]\n\n"));
}
