//! Driver of e-mail: one message by SMTP to the recipients of a channel. Its `Message-ID` is made of the action's id,
//! so that a mailbox (and its reader) can tell a repeat; `References` and `In-Reply-To` hold an episode together.
//!
//! The dialogue is led step by step, because only after the message itself was sent may it have been taken: whatever
//! breaks before has done nothing. It sends once; whether and when to repeat is the actor's decision.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use lettre::message::header::{ContentType, HeaderName, HeaderValue};
use lettre::message::{Mailbox, Message};
use lettre::transport::smtp::Error as SmtpError;
use lettre::transport::smtp::authentication::{Credentials, DEFAULT_MECHANISMS};
use lettre::transport::smtp::client::{AsyncSmtpConnection, TlsParameters};
use lettre::transport::smtp::commands::{Data, Mail, Rcpt};
use lettre::transport::smtp::extension::{ClientId, Extension, MailBodyParameter, MailParameter};
use tokio::time::timeout;

use super::http::is_loopback;
use super::{DEADLINE, WorldError, excerpt, install_crypto_provider, with_causes};

/// How much of a server's words is kept.
const REASON_BYTES: usize = 300;

/// How the way to the server is kept secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Security {
    /// TLS from the first byte (port 465).
    Tls,
    /// The server must offer STARTTLS (port 587).
    StartTls,
    /// In the clear (port 25): without credentials, or to this machine.
    None,
}

/// A mail server, and who gets the mail.
#[derive(Clone, Debug)]
pub struct Options {
    /// Its name or address.
    pub server: String,
    /// Its port; the usual one of `security` if none is given.
    pub port: Option<u16>,
    /// See there.
    pub security: Security,
    /// User and password.
    pub credentials: Option<(String, String)>,
    /// The sender.
    pub from: String,
    /// Who gets it.
    pub to: Vec<String>,
}

/// One list of recipients. Cheap to clone.
#[derive(Clone)]
pub struct Email {
    target: String,
    server: String,
    port: u16,
    security: Security,
    tls: Option<TlsParameters>,
    credentials: Option<Credentials>,
    from: Mailbox,
    to: Vec<Mailbox>,
    timeout: Duration,
}

impl std::fmt::Debug for Email {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Email").field("target", &self.target).field("to", &self.to).finish_non_exhaustive()
    }
}

/// A message. All texts are made harmless by whoever writes them; what would forge a header is encoded here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Letter {
    /// The same id is the same message: the left side of its `Message-ID`.
    pub id: String,
    /// The ids of what it belongs to, the root of the thread first. The last is what it replies to.
    pub thread: Vec<String>,
    /// One line.
    pub subject: String,
    /// The body, plain text.
    pub text: String,
}

impl Email {
    /// These recipients by that server.
    ///
    /// # Errors
    /// An address that is none; a password that would be sent in the clear. The password is not repeated.
    pub fn new(options: Options) -> Result<Self, WorldError> {
        install_crypto_provider();
        let Options { server, port, security, credentials, from, to } = options;
        let port = port.unwrap_or(match security {
            Security::Tls => 465,
            Security::StartTls => 587,
            Security::None => 25,
        });
        let target = format!("smtp {server}:{port}");
        let invalid = |reason: String| WorldError::Invalid { target: target.clone(), reason };
        let mailbox = |text: &String| {
            text.parse::<Mailbox>().map_err(|error| invalid(format!("{text:?} is no mail address: {error}")))
        };
        if credentials.is_some() && security == Security::None && !is_loopback(&server) {
            return Err(invalid("a password needs security = \"tls\" or \"starttls\"".to_owned()));
        }
        if to.is_empty() {
            return Err(invalid("it has no recipient".to_owned()));
        }
        let tls = match security {
            Security::None => None,
            _ => Some(TlsParameters::new(server.clone()).map_err(|error| invalid(with_causes(&error)))?),
        };
        Ok(Self {
            from: mailbox(&from)?,
            to: to.iter().map(mailbox).collect::<Result<_, _>>()?,
            credentials: credentials.map(|(user, password)| Credentials::new(user, password)),
            target,
            server,
            port,
            security,
            tls,
            timeout: DEADLINE,
        })
    }

    /// The same, with so much time for a whole dialogue.
    #[must_use]
    pub fn within(self, timeout: Duration) -> Self {
        Self { timeout, ..self }
    }

    /// The whole `Message-ID` of a letter with this id.
    pub fn message_id(&self, id: &str) -> String {
        format!("<{id}@{}>", self.from.email.domain())
    }

    /// Sends a letter; gives the recipients that the server refused, if it took it for others.
    ///
    /// # Errors
    /// What is known if it was not taken for anybody.
    pub async fn send(&self, letter: &Letter) -> Result<Vec<String>, WorldError> {
        let message = self.message(letter)?;
        // Set as soon as the server may have the whole message.
        let sent = AtomicBool::new(false);
        let reason = match timeout(self.timeout, self.talk(&message, &sent)).await {
            Ok(Ok(refused)) => return Ok(refused),
            Ok(Err(Trouble::Refused(error))) => return Err(error),
            Ok(Err(Trouble::Broke(error))) => with_causes(&error),
            Err(_) => "no answer in time".to_owned(),
        };
        let (target, reason) = (self.target.clone(), excerpt(&reason, REASON_BYTES));
        Err(match sent.load(Ordering::Relaxed) {
            true => WorldError::Unknown { target, reason },
            false => WorldError::Unreachable { target, reason },
        })
    }

    fn message(&self, letter: &Letter) -> Result<Message, WorldError> {
        let mut builder = Message::builder()
            .from(self.from.clone())
            .message_id(Some(self.message_id(&letter.id)))
            .subject(letter.subject.as_str())
            .header(ContentType::TEXT_PLAIN);
        for to in &self.to {
            builder = builder.to(to.clone());
        }
        if let Some(last) = letter.thread.last() {
            let references: Vec<_> = letter.thread.iter().map(|id| self.message_id(id)).collect();
            builder = builder.in_reply_to(self.message_id(last)).references(references.join(" "));
        }
        // No machine is to answer it (RFC 3834).
        let automatic = HeaderName::new_from_ascii_str("Auto-Submitted");
        builder = builder.raw_header(HeaderValue::new(automatic, "auto-generated".to_owned()));
        builder
            .body(letter.text.clone())
            .map_err(|error| WorldError::Invalid { target: self.target.clone(), reason: with_causes(&error) })
    }

    async fn talk(&self, message: &Message, sent: &AtomicBool) -> Result<Vec<String>, Trouble> {
        let hello = ClientId::default();
        let at_once = self.tls.clone().filter(|_| self.security == Security::Tls);
        let address = (self.server.as_str(), self.port);
        let mut server =
            AsyncSmtpConnection::connect_tokio1(address, Some(self.timeout), &hello, at_once, None).await?;
        if let Some(tls) = self.tls.clone().filter(|_| self.security == Security::StartTls) {
            server.starttls(tls, &hello).await?;
        }
        if let Some(credentials) = &self.credentials {
            server.auth(DEFAULT_MECHANISMS, credentials).await.map_err(|error| self.judge(error))?;
        }
        let bytes = message.formatted();
        let eight_bit = server.server_info().supports_feature(Extension::EightBitMime) && !bytes.is_ascii();
        let body = eight_bit.then_some(MailParameter::Body(MailBodyParameter::EightBitMime));
        let mail = Mail::new(Some(self.from.email.clone()), body.into_iter().collect());
        server.command(mail).await.map_err(|error| self.judge(error))?;
        let refused = self.name_recipients(&mut server).await?;
        server.command(Data).await.map_err(|error| self.judge(error))?;
        sent.store(true, Ordering::Relaxed);
        server.message(&bytes).await.map_err(|error| self.judge(error))?;
        // It is taken; how the server says good-bye changes nothing.
        let _ = server.quit().await;
        Ok(refused)
    }

    /// Somebody is to be reached, if not all of them can be.
    async fn name_recipients(&self, server: &mut AsyncSmtpConnection) -> Result<Vec<String>, Trouble> {
        let (mut refused, mut last) = (Vec::new(), None);
        for to in &self.to {
            match server.command(Rcpt::new(to.email.clone(), Vec::new())).await {
                Ok(_) => {}
                Err(error) if error.status().is_some() => {
                    refused.push(to.email.to_string());
                    // If one of them may be taken later, all of them are tried later.
                    if last.as_ref().is_none_or(SmtpError::is_permanent) {
                        last = Some(error);
                    }
                }
                Err(error) => return Err(error.into()),
            }
        }
        match last {
            Some(error) if refused.len() == self.to.len() => Err(self.judge(error)),
            _ => Ok(refused),
        }
    }

    /// An answer with a code is a clear one; all else is a broken dialogue.
    fn judge(&self, error: SmtpError) -> Trouble {
        let (target, reason) = (self.target.clone(), excerpt(&with_causes(&error), REASON_BYTES));
        match error.status() {
            Some(_) if error.is_transient() => Trouble::Refused(WorldError::Busy { target, reason, after_ms: 0 }),
            Some(_) => Trouble::Refused(WorldError::Forbidden { target, reason }),
            None => Trouble::Broke(error),
        }
    }
}

/// Why a dialogue ended early.
enum Trouble {
    /// The server said no. Nothing was taken.
    Refused(WorldError),
    /// It broke off.
    Broke(SmtpError),
}

impl From<SmtpError> for Trouble {
    fn from(error: SmtpError) -> Self {
        Self::Broke(error)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options() -> Options {
        Options {
            server: "mail.example.org".to_owned(),
            port: None,
            security: Security::StartTls,
            credentials: Some(("ops".to_owned(), "s3cret".to_owned())),
            from: "HMS-OPS <ops@example.org>".to_owned(),
            to: vec!["duty@example.org".to_owned()],
        }
    }

    #[test]
    fn what_makes_no_sense_is_refused_and_no_password_is_repeated() {
        for (change, said) in [
            ((|options| options.security = Security::None) as fn(&mut Options), "a password needs"),
            (|options| options.to.clear(), "no recipient"),
            (|options| options.to.push("nobody".to_owned()), "\"nobody\" is no mail address"),
            (|options| options.from = "a@b\r\nBcc: c@d".to_owned(), "is no mail address"),
        ] {
            let mut options = options();
            change(&mut options);
            let refused = Email::new(options).unwrap_err().to_string();
            assert!(refused.contains(said) && !refused.contains("s3cret"), "{refused}");
        }
        let shown = format!("{:?}", Email::new(options()).unwrap());
        assert!(shown.contains("smtp mail.example.org:587") && !shown.contains("s3cret"), "{shown}");
    }

    #[test]
    fn no_text_adds_a_header_and_the_thread_is_named() {
        let hostile = "all is well\r\nBcc: thief@example.org\r\n\r\nbody";
        let thread = vec!["episode.1".to_owned(), "aa".to_owned()];
        let letter =
            Letter { id: "bb".to_owned(), thread, subject: hostile.to_owned(), text: "x\r\n.\r\nRSET".to_owned() };
        let written = Email::new(options()).unwrap().message(&letter).unwrap().formatted();
        let written = String::from_utf8(written).unwrap();
        let (headers, _) = written.split_once("\r\n\r\n").unwrap();
        assert!(!headers.lines().any(|line| line.starts_with("Bcc")), "{headers}");
        for line in [
            "Message-ID: <bb@example.org>",
            "In-Reply-To: <aa@example.org>",
            "References: <episode.1@example.org> <aa@example.org>",
            "Auto-Submitted: auto-generated",
        ] {
            assert!(headers.lines().any(|found| found == line), "{line} in {headers}");
        }
    }
}
