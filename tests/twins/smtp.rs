//! A twin of a mail server: the dialogue of RFC 5321 as far as a client needs it, in the clear, by hand. It insists on
//! the order of commands, and keeps the mail that it took.

use std::collections::VecDeque;
use std::net::Ipv4Addr;
use std::sync::{Arc, Mutex};

use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

/// `AUTH PLAIN` of its one user, `ops` with the password `s3cret`.
const PLAIN: &str = "AUTH PLAIN AG9wcwBzM2NyZXQ=";

/// What goes wrong with one dialogue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// `451` to the sender's name; not taken.
    Later,
    /// `550` to the sender's name; not taken.
    Never,
    /// `550` to the first recipient; taken for the others.
    NotHim,
    /// The connection ends before the mail; not taken.
    BreakBefore,
    /// The mail is taken, and the connection ends without an answer.
    TakeAndBreak,
    /// The mail is taken, and never answered.
    TakeAndHang,
}

/// One mail.
#[derive(Clone, Debug)]
pub struct Mail {
    /// For whom it was taken.
    pub to: Vec<String>,
    /// The lines of its head, unfolded.
    pub head: Vec<String>,
    /// Its text, as it came.
    pub body: String,
}

impl Mail {
    /// The value of a header that stands there once; empty if it does not.
    pub fn header(&self, name: &str) -> &str {
        let prefix = format!("{name}: ");
        let mut found = self.head.iter().filter_map(|line| line.strip_prefix(&prefix));
        let first = found.next().unwrap_or_default();
        assert_eq!(found.next(), None, "{name} stands there twice");
        first
    }
}

/// See the module.
pub struct Smtp {
    /// Where it listens.
    pub port: u16,
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    faults: Mutex<VecDeque<Fault>>,
    mails: watch::Sender<Vec<Mail>>,
}

impl Smtp {
    /// Nothing is wrong yet. Serves as long as the runtime lives.
    pub async fn start() -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let (port, shared) = (listener.local_addr().unwrap().port(), Arc::<Shared>::default());
        let serving = shared.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let shared = serving.clone();
                // A client that goes away ends its dialogue.
                tokio::spawn(async move { talk(stream, &shared).await });
            }
        });
        Self { port, shared }
    }

    /// The next dialogues meet these, one each.
    pub fn meet(&self, faults: &[Fault]) {
        self.shared.faults.lock().unwrap().extend(faults);
    }

    /// The mail that was taken, oldest first.
    pub fn mails(&self) -> Vec<Mail> {
        self.shared.mails.borrow().clone()
    }

    /// Waits until so many were taken.
    pub async fn reached(&self, count: usize) -> Vec<Mail> {
        self.shared.mails.subscribe().wait_for(|mails| mails.len() >= count).await.unwrap().clone()
    }
}

async fn talk(stream: TcpStream, shared: &Shared) -> std::io::Result<()> {
    let fault = shared.faults.lock().unwrap().pop_front();
    let mut stream = BufReader::new(stream);
    let (mut named, mut to, mut known) = (false, Vec::new(), false);
    say(&mut stream, "220 twin ESMTP").await?;
    loop {
        let Some(line) = hear(&mut stream).await? else { return Ok(()) };
        let answer = match line.split_ascii_whitespace().next().unwrap_or_default() {
            "EHLO" => "250-twin\r\n250-8BITMIME\r\n250 AUTH PLAIN",
            "AUTH" if line == PLAIN => {
                known = true;
                "235 welcome"
            }
            "AUTH" => "535 who are you",
            "MAIL" if !known => "530 authentication required",
            "MAIL" if fault == Some(Fault::Later) => "451 come again",
            "MAIL" if fault == Some(Fault::Never) => "550 not from you",
            "MAIL" => {
                named = true;
                "250 ok"
            }
            "RCPT" if !named => "503 who sends it?",
            "RCPT" if fault == Some(Fault::NotHim) && !line.contains("second") => "550 no such mailbox",
            "RCPT" => {
                to.push(line.trim_start_matches("RCPT TO:").to_owned());
                "250 ok"
            }
            "DATA" if to.is_empty() => "503 to whom?",
            "DATA" if fault == Some(Fault::BreakBefore) => return Ok(()),
            "DATA" => {
                say(&mut stream, "354 go on").await?;
                let Some(mail) = mail(&mut stream, &to).await? else { return Ok(()) };
                shared.mails.send_modify(|mails| mails.push(mail));
                match fault {
                    Some(Fault::TakeAndBreak) => return Ok(()),
                    Some(Fault::TakeAndHang) => std::future::pending().await,
                    _ => "250 taken",
                }
            }
            "QUIT" => {
                say(&mut stream, "221 bye").await?;
                return Ok(());
            }
            _ => "500 what?",
        };
        say(&mut stream, answer).await?;
    }
}

async fn say(stream: &mut BufReader<TcpStream>, line: &str) -> std::io::Result<()> {
    stream.get_mut().write_all(format!("{line}\r\n").as_bytes()).await
}

/// One line, which must end as lines of SMTP do; `None` at the end.
async fn hear(stream: &mut BufReader<TcpStream>) -> std::io::Result<Option<String>> {
    let mut line = String::new();
    if stream.read_line(&mut line).await? == 0 {
        return Ok(None);
    }
    assert!(line.ends_with("\r\n") && line.len() <= 1_000, "no line of SMTP: {line:?}");
    Ok(Some(line.trim_end_matches("\r\n").to_owned()))
}

/// What comes up to the lonely dot.
async fn mail(stream: &mut BufReader<TcpStream>, to: &[String]) -> std::io::Result<Option<Mail>> {
    let (mut head, mut body, mut in_head) = (Vec::<String>::new(), String::new(), true);
    loop {
        let Some(line) = hear(stream).await? else { return Ok(None) };
        match line.as_str() {
            "." => return Ok(Some(Mail { to: to.to_vec(), head, body })),
            "" if in_head => in_head = false,
            line if in_head => match (line.strip_prefix([' ', '\t']), head.last_mut()) {
                (Some(folded), Some(last)) => last.push_str(&format!(" {folded}")),
                _ => head.push(line.to_owned()),
            },
            line => {
                body.push_str(line.strip_prefix('.').unwrap_or(line));
                body.push('\n');
            }
        }
    }
}
