//! Serving connections, bounded in number, time and size, until told to stop.

use std::io;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;

/// The largest head of a request, in bytes. hyper itself refuses more than 100 headers.
const MOST_HEAD_BYTES: usize = 32 * 1024;

/// What a connection may read ahead, in bytes.
const READ_BUFFER_BYTES: usize = 64 * 1024;

/// How long to wait when no connection can be accepted, as when the process has no file handles left.
const PAUSE: Duration = Duration::from_millis(100);

/// What connections are held to.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Connections served at once; further ones wait to be let in.
    pub connections: usize,
    /// How long a client may take to send a request's head, the time between two requests included.
    pub head_timeout: Duration,
    /// How long requests under way may take to finish at the end.
    pub grace: Duration,
}

/// Serves until `stop`, then lets no more in and waits for what is under way.
///
/// # Errors
/// Where requests were still under way when the grace was over.
pub async fn serve(listener: TcpListener, router: Router, limits: Limits, stop: CancellationToken) -> io::Result<()> {
    let most = u32::try_from(limits.connections).unwrap_or(u32::MAX);
    let places = Arc::new(Semaphore::new(most as usize));
    while let Some((stream, place)) = next(&listener, &places, &stop).await {
        let (router, stop) = (router.clone(), stop.clone());
        tokio::spawn(async move {
            connection(stream, router, limits, &stop).await;
            drop(place);
        });
    }
    drop(listener);
    // All places can be had again once every connection is gone.
    match tokio::time::timeout(limits.grace, places.acquire_many(most)).await {
        Ok(_) => Ok(()),
        Err(_) => Err(io::Error::new(io::ErrorKind::TimedOut, "requests were still under way when the grace was over")),
    }
}

/// The next connection and its place; `None` when it is time to stop.
async fn next(
    listener: &TcpListener,
    places: &Arc<Semaphore>,
    stop: &CancellationToken,
) -> Option<(TcpStream, OwnedSemaphorePermit)> {
    stop.run_until_cancelled(async {
        let place = Arc::clone(places).acquire_owned().await.ok()?;
        loop {
            match listener.accept().await {
                Ok((stream, _)) => return Some((stream, place)),
                Err(error) => {
                    tracing::warn!(%error, "no connection can be accepted");
                    tokio::time::sleep(PAUSE).await;
                }
            }
        }
    })
    .await
    .flatten()
}

async fn connection(stream: TcpStream, router: Router, limits: Limits, stop: &CancellationToken) {
    // Answers are small and complete: holding them back to fill a packet only costs time.
    let _ = stream.set_nodelay(true);
    let mut builder = http1::Builder::new();
    builder
        .timer(TokioTimer::new())
        .header_read_timeout(limits.head_timeout)
        .max_header_size(MOST_HEAD_BYTES)
        .max_buf_size(READ_BUFFER_BYTES);
    let mut serving = pin!(builder.serve_connection(TokioIo::new(stream), TowerToHyperService::new(router)));
    let ended = tokio::select! {
        ended = serving.as_mut() => ended,
        () = stop.cancelled() => {
            serving.as_mut().graceful_shutdown();
            serving.await
        }
    };
    if let Err(error) = ended {
        tracing::debug!(%error, "a connection ended badly");
    }
}
