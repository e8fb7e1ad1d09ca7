//! Reading a request's body, bounded in size and time while it is read.

use std::time::Duration;

use axum::body::{Body, Bytes, HttpBody as _};
use axum::http::{HeaderValue, StatusCode, header};
use tokio_stream::StreamExt as _;

use super::problem::Problem;

/// The whole body, of at most `limit` bytes.
///
/// # Errors
/// 413 as soon as it is known to be larger, 408 where it takes too long, 400 where it breaks off.
pub(super) async fn read(body: Body, limit: usize, patience: Duration) -> Result<Bytes, Problem> {
    let announced = body.size_hint();
    if announced.lower() > limit as u64 {
        return Err(too_large(limit));
    }
    let mut first = Bytes::new();
    let mut bytes = Vec::new();
    let mut chunks = body.into_data_stream();
    let reading = async {
        while let Some(chunk) = chunks.next().await {
            let chunk = chunk.map_err(|error| {
                Problem::new(StatusCode::BAD_REQUEST, "body_broken_off", "The body broke off")
                    .detail(error.to_string())
                    .hint("send the request again")
            })?;
            let so_far = first.len().max(bytes.len());
            if so_far + chunk.len() > limit {
                return Err(too_large(limit));
            }
            // Most bodies are one chunk, which need not be copied.
            if so_far == 0 {
                first = chunk;
            } else {
                if bytes.is_empty() {
                    bytes.reserve_exact(usize::try_from(announced.lower()).unwrap_or(0).max(so_far));
                    bytes.extend_from_slice(&first);
                }
                bytes.extend_from_slice(&chunk);
            }
        }
        Ok(())
    };
    match tokio::time::timeout(patience, reading).await {
        Ok(Ok(())) => Ok(if bytes.is_empty() { first } else { bytes.into() }),
        Ok(Err(problem)) => Err(problem),
        Err(_) => Err(Problem::new(StatusCode::REQUEST_TIMEOUT, "body_timeout", "The body took too long")
            .detail(format!("{} bytes had come after {} ms", first.len().max(bytes.len()), patience.as_millis()))
            .hint("send the request again; `server.read_timeout` is the limit")
            .header(header::CONNECTION, HeaderValue::from_static("close"))),
    }
}

fn too_large(limit: usize) -> Problem {
    Problem::new(StatusCode::PAYLOAD_TOO_LARGE, "body_too_large", "The body is too large")
        .detail(format!("at most {limit} bytes are read"))
        .hint("send fewer events at a time; `server.body_limit` is the limit")
        .header(header::CONNECTION, HeaderValue::from_static("close"))
}
