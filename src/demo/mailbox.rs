//! The store's mailbox: a mail server that keeps what it is sent. It speaks as much of SMTP (RFC 5321) as sending a mail
//! takes: no TLS, no logins, since it listens on this machine only.

use mail_parser::MessageParser;
use tokio::io::{AsyncBufRead, AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;

use super::shop::DemoShop;
use crate::domain::Outgoing;

/// The longest line of SMTP, in bytes; a line of a mail has no more than 998 by RFC 5322.
const MOST_LINE: u64 = 4096;
/// The largest mail, in bytes.
const MOST_BYTES: usize = 1 << 20;
/// Commands of one connection.
const MOST_COMMANDS: usize = 1000;

/// Takes mail for `shop` until `stop`.
pub(super) fn serve(listener: TcpListener, shop: DemoShop, stop: CancellationToken) {
    tokio::spawn(async move {
        loop {
            let came = tokio::select! {
                came = listener.accept() => came,
                () = stop.cancelled() => return,
            };
            let Ok((stream, _)) = came else { continue };
            let (shop, stop) = (shop.clone(), stop.clone());
            tokio::spawn(async move {
                // Who hangs up in the middle of a mail has sent none.
                let _ = tokio::select! {
                    ended = talk(stream, &shop) => ended,
                    () = stop.cancelled() => Ok(()),
                };
            });
        }
    });
}

async fn talk(stream: TcpStream, shop: &DemoShop) -> std::io::Result<()> {
    let mut stream = BufReader::new(stream);
    stream.write_all(b"220 the demo store's mailbox\r\n").await?;
    let mut to: Option<String> = None;
    for _ in 0..MOST_COMMANDS {
        let Some(line) = read_line(&mut stream).await? else { return Ok(()) };
        let line = String::from_utf8_lossy(&line).trim_end().to_owned();
        let verb = line.split([' ', ':']).next().unwrap_or_default().to_ascii_uppercase();
        let reply = match verb.as_str() {
            "EHLO" | "HELO" | "MAIL" | "RSET" | "NOOP" => {
                to = None;
                "250 OK"
            }
            "RCPT" => {
                let address = line.split_once('<').and_then(|(_, rest)| rest.split_once('>'));
                to = to.or(address.map(|(address, _)| address.to_owned()));
                if to.is_some() { "250 OK" } else { "501 no address" }
            }
            "DATA" if to.is_none() => "503 RCPT first",
            "DATA" => {
                stream.write_all(b"354 end with a line of a full stop\r\n").await?;
                match read_mail(&mut stream).await? {
                    Some(mail) => {
                        shop.take(read(&mail, to.take().unwrap_or_default()));
                        "250 OK"
                    }
                    None => "552 too large",
                }
            }
            "QUIT" => return stream.write_all(b"221 bye\r\n").await,
            _ => "502 not known here",
        };
        stream.write_all(format!("{reply}\r\n").as_bytes()).await?;
    }
    stream.write_all(b"421 that is enough\r\n").await
}

/// The next line; `None` at the end.
async fn read_line(stream: &mut (impl AsyncBufRead + Unpin)) -> std::io::Result<Option<Vec<u8>>> {
    let mut line = Vec::new();
    stream.take(MOST_LINE).read_until(b'\n', &mut line).await?;
    Ok(line.ends_with(b"\n").then_some(line))
}

/// A mail up to its end, without what SMTP adds to lines that begin with a full stop; `None` where it is too large.
async fn read_mail(stream: &mut (impl AsyncBufRead + Unpin)) -> std::io::Result<Option<Vec<u8>>> {
    let mut mail = Some(Vec::new());
    loop {
        let Some(line) = read_line(stream).await? else { return Err(std::io::ErrorKind::UnexpectedEof.into()) };
        if line == b".\r\n" || line == b".\n" {
            return Ok(mail);
        }
        mail = mail.filter(|mail| mail.len() + line.len() <= MOST_BYTES);
        if let Some(mail) = &mut mail {
            mail.extend_from_slice(line.strip_prefix(b".").unwrap_or(&line));
        }
    }
}

fn read(mail: &[u8], to: String) -> Outgoing {
    let parsed = MessageParser::default().parse(mail).unwrap_or_default();
    let text = |text: Option<std::borrow::Cow<'_, str>>| text.map(|it| it.trim_end().to_owned()).unwrap_or_default();
    Outgoing {
        to,
        subject: parsed.subject().unwrap_or_default().to_owned(),
        text: text(parsed.body_text(0)),
        message_id: parsed.message_id().unwrap_or_default().to_owned(),
        in_reply_to: parsed.in_reply_to().as_text().map(str::to_owned),
        references: parsed.references().as_text_list().into_iter().flatten().map(|it| it.to_string()).collect(),
    }
}
