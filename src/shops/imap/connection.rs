//! The way to a mail server that is read from: TCP, TLS, and a bound on what is read over it.

use std::fmt;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use async_imap::Client;
use base64::Engine as _;
use base64::alphabet::IMAP_MUTF7;
use base64::engine::general_purpose::{GeneralPurpose, NO_PAD};
use rustls::pki_types::ServerName;
use rustls_platform_verifier::ConfigVerifierExt;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use super::super::mail::Security;
use super::{InboxError, InboxSettings};
use crate::outgoing::set_provider;

/// So much is read over one connection, in bytes: a look's mails, and what stands around them.
const MOST_BYTES: usize = 100 << 20;

/// A client that has heard the server's greeting, over a connection that is protected as the settings say.
pub(super) async fn open(settings: &InboxSettings) -> Result<Client<Bounded>, InboxError> {
    let server = format!("{}:{}", settings.host, settings.port);
    let connect = |problem: String| InboxError::Connect { server: server.clone(), problem };
    let stream = TcpStream::connect((settings.host.as_str(), settings.port)).await;
    let stream = stream.map_err(|error| connect(error.to_string()))?;
    match settings.security {
        Security::None => greeted(Bounded::over(stream), connect).await,
        Security::Tls => greeted(protect(stream, settings, &server).await?, connect).await,
        Security::Starttls => {
            let mut client = greeted(Bounded::over(stream), connect).await?;
            let tls = |problem: String| InboxError::Tls { server: server.clone(), problem };
            client.run_command_and_check_ok("STARTTLS", None).await.map_err(|error| tls(error.to_string()))?;
            // What came behind the server's answer in the clear is thrown away with the old client.
            Ok(Client::new(protect(client.into_inner(), settings, &server).await?))
        }
    }
}

async fn greeted(stream: Bounded, connect: impl Fn(String) -> InboxError) -> Result<Client<Bounded>, InboxError> {
    let mut client = Client::new(stream);
    match client.read_response().await {
        Ok(Some(_)) => Ok(client),
        Ok(None) => Err(connect("the server closed it at once".to_owned())),
        Err(error) => Err(connect(error.to_string())),
    }
}

async fn protect<S: Stream + 'static>(
    stream: S,
    settings: &InboxSettings,
    server: &str,
) -> Result<Bounded, InboxError> {
    let tls = |problem: String| InboxError::Tls { server: server.to_owned(), problem };
    set_provider();
    let config = rustls::ClientConfig::with_platform_verifier().map_err(|error| tls(error.to_string()))?;
    let name = ServerName::try_from(settings.host.clone()).map_err(|error| tls(error.to_string()))?;
    let connected = TlsConnector::from(Arc::new(config)).connect(name, stream).await;
    Ok(Bounded::over(connected.map_err(|error| tls(error.to_string()))?))
}

trait Stream: AsyncRead + AsyncWrite + Unpin + Send {}
impl<S: AsyncRead + AsyncWrite + Unpin + Send> Stream for S {}

/// A connection over which no more than so many bytes come in.
pub(super) struct Bounded {
    stream: Box<dyn Stream>,
    left: usize,
}

impl Bounded {
    fn over(stream: impl Stream + 'static) -> Self {
        Self { stream: Box::new(stream), left: MOST_BYTES }
    }
}

impl fmt::Debug for Bounded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a connection that may read {} bytes more", self.left)
    }
}

impl AsyncRead for Bounded {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if self.left == 0 {
            return Poll::Ready(Err(io::Error::other(format!("the server sent more than {MOST_BYTES} bytes"))));
        }
        let before = buffer.filled().len();
        let poll = Pin::new(&mut self.stream).poll_read(cx, buffer);
        let read = buffer.filled().len() - before;
        self.left = self.left.saturating_sub(read);
        poll
    }
}

impl AsyncWrite for Bounded {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

/// A folder's name as IMAP writes it (RFC 3501, 5.1.3): what is not ASCII as UTF-16 in base64 between `&` and `-`.
pub(super) fn folder_name(name: &str) -> String {
    let base64 = GeneralPurpose::new(&IMAP_MUTF7, NO_PAD);
    let mut written = String::new();
    let mut rest = name;
    while !rest.is_empty() {
        let plain = rest.find(|c: char| !matches!(c, ' '..='~')).unwrap_or(rest.len());
        written.push_str(&rest[..plain].replace('&', "&-"));
        rest = &rest[plain..];
        let other = rest.find(|c: char| matches!(c, ' '..='~')).unwrap_or(rest.len());
        if other > 0 {
            let units: Vec<u8> = rest[..other].encode_utf16().flat_map(u16::to_be_bytes).collect();
            written.push_str(&format!("&{}-", base64.encode(units)));
        }
        rest = &rest[other..];
    }
    written
}

#[cfg(test)]
mod tests {
    use super::folder_name;

    #[test]
    fn folders_are_written_as_the_standard_says() {
        // The second is the standard's own example.
        for (name, written) in
            [("INBOX", "INBOX"), ("~peter/mail/台北/日本語", "~peter/mail/&U,BTFw-/&ZeVnLIqe-"), ("A & B", "A &- B")]
        {
            assert_eq!(folder_name(name), written);
        }
    }
}
