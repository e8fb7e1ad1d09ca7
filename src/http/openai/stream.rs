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

use super::answers::{Form, Head, choices, usage, whole_or_nothing};
use super::refused::Refusal;
use super::tools::Offered;
use crate::models::tools::BeforeCalls;
use crate::models::{Model, Request};

/// What a stream is made of, and what ended it.
type Piece = Result<Json, Refusal>;

/// Starts an answer, and gives it as it is written. Who hangs up gives it up.
///
/// # Errors
/// What went wrong before anything was written: then the status can still say so. Later it is the last event.
pub(super) async fn start(
    model: Model,
    request: Request,
    form: &'static Form,
    head: Head,
    told: (bool, Option<Offered>),
) -> Result<Response, Refusal> {
    let cancelled = CancellationToken::new();
    let hung_up = cancelled.clone().drop_guard();
    // Bounded by the tokens of one answer.
    let (pieces, mut written) = unbounded_channel();
    tokio::spawn(async move { write(&model, request, &cancelled, (form, &head, told), &pieces).await });
    let Some(first) = written.recv().await.transpose()? else {
        return Err(Refusal::broken_off());
    };
    let events = tokio_stream::once(Ok(first)).chain(UnboundedReceiverStream::new(written)).map(|piece: Piece| {
        let json = piece.unwrap_or_else(|refusal| refusal.body());
        Bytes::from(format!("data: {json}\n\n"))
    });
    let events = events.chain(tokio_stream::once(Bytes::from_static(b"data: [DONE]\n\n")));
    let body = events.map(move |event| {
        // Lives as long as somebody reads.
        let _ = &hung_up;
        Ok::<_, Infallible>(event)
    });
    let headers = [(header::CONTENT_TYPE, "text/event-stream"), (header::CACHE_CONTROL, "no-cache")];
    Ok((headers, Body::from_stream(body)).into_response())
}

async fn write(
    model: &Model,
    request: Request,
    cancelled: &CancellationToken,
    (form, head, (with_usage, offered)): (&Form, &Head, (bool, Option<Offered>)),
    pieces: &UnboundedSender<Piece>,
) {
    // Nobody may be there to hear any of it, which the token tells the model.
    let send = |piece: Piece| drop(pieces.send(piece));
    let chunk = |choice: Json| send(Ok(head.object(form.chunk, vec![choice])));
    let mut first = (form.first)();
    // What may become a call is not told as text.
    let (mut before, mut told) = (BeforeCalls::default(), String::new());
    let generated = model.generate(request, cancelled, |text| {
        first.take().into_iter().for_each(chunk);
        match &offered {
            None => chunk((form.piece)(text)),
            Some(offered) => {
                let text = if offered.must() { String::new() } else { before.push(text) };
                if !text.is_empty() {
                    chunk((form.piece)(&text));
                    told.push_str(&text);
                }
            }
        }
    });
    let generated = match whole_or_nothing(generated.await) {
        Ok(generated) => generated,
        Err(error) => return send(Err(error.into())),
    };
    first.take().into_iter().for_each(chunk);
    for (index, choice) in choices(&generated).iter().enumerate() {
        match offered.as_ref().map(|offered| offered.called(choice)) {
            Some(Some(called)) => called.pieces(index).into_iter().for_each(chunk),
            // What began like a call and was none.
            Some(None) if index == 0 => {
                let rest = choice.text.strip_prefix(told.as_str()).unwrap_or_default();
                if !rest.is_empty() {
                    chunk((form.piece)(rest));
                }
                chunk((form.end)(index, choice));
            }
            _ => chunk((form.end)(index, choice)),
        }
    }
    if with_usage {
        let mut last = head.object(form.chunk, Vec::new());
        last["usage"] = usage([&generated]);
        send(Ok(last));
    }
}
