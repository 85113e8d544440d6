//! One page over HTTP, from an address that was checked: resolve, check every address, connect to exactly one of those
//! that passed, ask, read within bounds. Called by [`super::job`].
//!
//! By hand on one connection, because what is not there cannot be misled: no pool that would go on with an address
//! that a name had before, no redirects, no proxies of the environment, no cookies, no credentials. A name that changes
//! between check and use changes nothing: it is resolved once.

use std::io::Read;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use flate2::read::MultiGzDecoder;
use http_body_util::{BodyExt, Empty};
use hyper::body::{Bytes, Incoming};
use hyper::header::{self, HeaderMap, HeaderValue};
use hyper::{Request, Response, StatusCode, Uri};
use hyper_util::rt::TokioIo;
use rustls_platform_verifier::ConfigVerifierExt;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::{ClientConfig, pki_types::ServerName};

use super::down::{Down, Kind};
use super::text::Format;
use crate::model::network::Networks;
use crate::world::{install_crypto_provider, with_causes};

/// Bytes of an answer before its body.
const MAX_HEAD: usize = 64 * 1024;
/// Bytes of a body, as it comes and decompressed.
const MAX_BODY: usize = 16 * 1024 * 1024;
/// A compressed page may be so many times larger than what came, once it is large at all: text of metrics packs to a
/// tenth or less, a bomb to a thousandth.
const MAX_RATIO: usize = 200;
const LARGE: usize = 1024 * 1024;
/// Text 0.0.4 first: names are then those that whoever opens the page in a browser sees.
const ACCEPT: &str = "text/plain;version=0.0.4, application/openmetrics-text;version=1.0.0;q=0.5";

/// A `scrape_url`, taken apart.
#[derive(Clone, Debug)]
pub struct Address {
    uri: Uri,
    is_https: bool,
    /// Without the brackets of an IPv6 address.
    host: String,
    port: u16,
}

impl Address {
    /// Takes a URL apart that the spec's parser has let pass.
    ///
    /// # Errors
    /// It is none for HTTP.
    pub fn new(url: &str) -> Result<Self, Down> {
        let none = || Down::new(Kind::Refused, "its URL cannot be asked for");
        let without_fragment = url.split('#').next().unwrap_or_default();
        let uri: Uri = without_fragment.parse().map_err(|_| none())?;
        let is_https = match uri.scheme_str() {
            Some("http") => false,
            Some("https") => true,
            _ => return Err(none()),
        };
        let host = uri.host().ok_or_else(none)?;
        let host = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host).to_owned();
        let port = uri.port_u16().unwrap_or(if is_https { 443 } else { 80 });
        Ok(Self { uri, is_https, host, port })
    }

    /// All that may be shown of it: what stands behind `?` may be a secret.
    pub fn shown(&self) -> String {
        let scheme = if self.is_https { "https" } else { "http" };
        let authority = self.uri.authority().map_or("", |authority| authority.as_str());
        format!("{scheme}://{authority}{}", self.uri.path())
    }

    /// The addresses that the name has now and that may be asked.
    async fn resolve(&self, networks: &Networks) -> Result<Vec<SocketAddr>, Down> {
        let found: Vec<SocketAddr> = match self.host.parse::<IpAddr>() {
            Ok(address) => vec![(address, self.port).into()],
            Err(_) => {
                let found = tokio::net::lookup_host((&*self.host, self.port)).await;
                let unknown = |error: std::io::Error| {
                    Down::new(Kind::Unreachable, format!("{} is not resolved: {error}", self.host))
                };
                found.map_err(unknown)?.collect()
            }
        };
        let mut refused = None;
        let mut allowed = Vec::new();
        for address in found {
            match networks.check(address.ip(), address.port()) {
                Ok(()) => allowed.push(address),
                Err(inside) => refused = Some((address, inside)),
            }
        }
        match (allowed.is_empty(), refused) {
            (false, _) => Ok(allowed),
            (true, Some((address, inside))) => {
                let reason = format!("{address} is {}, which `[collect] allow` does not name", inside.name());
                Err(Down::new(Kind::Refused, reason))
            }
            (true, None) => Err(Down::new(Kind::Unreachable, format!("{} has no address", self.host))),
        }
    }
}

/// A page as it came, decompressed on demand: that takes time, and belongs to a thread that may be held up.
#[derive(Debug)]
pub struct Answer {
    body: Vec<u8>,
    is_gzip: bool,
    /// By which rules it is written, as it says.
    pub format: Format,
}

impl Answer {
    /// The text of the page.
    ///
    /// # Errors
    /// Too large, no gzip, no UTF-8.
    pub fn text(self) -> Result<String, Down> {
        let bytes = if self.is_gzip { gunzip(&self.body)? } else { self.body };
        String::from_utf8(bytes).map_err(|error| {
            let at = error.utf8_error().valid_up_to();
            Down::new(Kind::Broken, format!("the page is not UTF-8 at byte {at}"))
        })
    }
}

/// Asks for the page.
///
/// # Errors
/// Why there is none. Whatever the target does, this is over after `timeout`.
pub async fn fetch(address: &Address, networks: &Networks, timeout: Duration) -> Result<Answer, Down> {
    let asked = tokio::time::timeout(timeout, ask(address, networks)).await;
    asked.unwrap_or_else(|_| Err(Down::new(Kind::TimedOut, format!("no whole answer within {timeout:?}"))))
}

async fn ask(address: &Address, networks: &Networks) -> Result<Answer, Down> {
    let stream = connect(&address.resolve(networks).await?).await?;
    if !address.is_https {
        return converse(stream, address).await;
    }
    let failed = |error: &dyn std::error::Error| Down::new(Kind::Unreachable, format!("TLS: {}", with_causes(error)));
    let config = tls().map_err(|reason| Down::new(Kind::Unreachable, format!("TLS: {reason}")))?;
    let name = ServerName::try_from(address.host.clone()).map_err(|error| failed(&error))?;
    let stream = TlsConnector::from(config).connect(name, stream).await.map_err(|error| failed(&error))?;
    converse(stream, address).await
}

/// The first of them that takes a connection.
async fn connect(addresses: &[SocketAddr]) -> Result<TcpStream, Down> {
    let mut last = Down::new(Kind::Unreachable, "no address");
    for address in addresses {
        match TcpStream::connect(address).await {
            Ok(stream) => return Ok(stream),
            Err(error) => last = Down::new(Kind::Unreachable, format!("no connection to {address}: {error}")),
        }
    }
    Err(last)
}

/// Whom to trust, loaded once.
fn tls() -> Result<Arc<ClientConfig>, String> {
    static CONFIG: OnceLock<Result<Arc<ClientConfig>, String>> = OnceLock::new();
    let load = || {
        install_crypto_provider();
        ClientConfig::with_platform_verifier().map(Arc::new).map_err(|error| error.to_string())
    };
    CONFIG.get_or_init(load).clone()
}

async fn converse<S: AsyncRead + AsyncWrite + Unpin + Send + 'static>(
    stream: S,
    address: &Address,
) -> Result<Answer, Down> {
    let mut builder = hyper::client::conn::http1::Builder::new();
    builder.max_buf_size(MAX_HEAD);
    let (mut sender, connection) = builder.handshake(TokioIo::new(stream)).await.map_err(broken_off)?;
    let request = request(address)?;
    let talk = async {
        let answer = sender.send_request(request).await.map_err(broken_off)?;
        let (format, is_gzip) = judge(&answer)?;
        Ok(Answer { body: body(answer.into_body()).await?, is_gzip, format })
    };
    tokio::pin!(talk);
    tokio::pin!(connection);
    // The connection does the work; its end, good or bad, shows in the talk.
    tokio::select! {
        answer = &mut talk => answer,
        _ = &mut connection => talk.await,
    }
}

fn request(address: &Address) -> Result<Request<Empty<Bytes>>, Down> {
    let path = address.uri.path_and_query().map_or("/", |path| path.as_str());
    let authority = address.uri.authority().map_or("", |authority| authority.as_str());
    Request::builder()
        .uri(path)
        .header(header::HOST, authority)
        .header(header::ACCEPT, ACCEPT)
        .header(header::ACCEPT_ENCODING, "gzip")
        .header(header::USER_AGENT, concat!("hms-ops/", env!("CARGO_PKG_VERSION")))
        .header(header::CONNECTION, "close")
        .body(Empty::new())
        .map_err(|_| Down::new(Kind::Refused, "its URL cannot be asked for"))
}

fn broken_off(error: hyper::Error) -> Down {
    match error.is_parse_too_large() {
        true => Down::new(Kind::TooLarge, format!("more than {MAX_HEAD} bytes before the page")),
        false => Down::new(Kind::Unreachable, with_causes(&error)),
    }
}

/// Is it a page of metrics? By which rules is it written, and is it packed?
fn judge(answer: &Response<Incoming>) -> Result<(Format, bool), Down> {
    if answer.status() != StatusCode::OK {
        let advice = if answer.status().is_redirection() { "; redirects are not followed" } else { "" };
        return Err(Down::new(Kind::Answer, format!("status {}{advice}", answer.status().as_u16())));
    }
    let is_gzip = match text_of(answer.headers(), &header::CONTENT_ENCODING).as_str() {
        "" | "identity" => false,
        "gzip" => true,
        other => return Err(Down::new(Kind::Answer, format!("packed as {other}, which was not asked for"))),
    };
    let length = answer.headers().get(header::CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse().ok());
    if length.is_some_and(|length: u64| length > MAX_BODY as u64) {
        return Err(too_large());
    }
    let kind = text_of(answer.headers(), &header::CONTENT_TYPE);
    match kind.split(';').next().unwrap_or_default().trim() {
        // Small exporters say nothing at all.
        "" | "text/plain" => Ok((Format::Plain, is_gzip)),
        "application/openmetrics-text" => Ok((Format::OpenMetrics, is_gzip)),
        other => Err(Down::new(Kind::Answer, format!("{other} is no text of metrics"))),
    }
}

/// A header, in lower case; empty if it is not there.
fn text_of(headers: &HeaderMap, name: &header::HeaderName) -> String {
    let text = headers.get(name).map_or(Ok(""), HeaderValue::to_str).unwrap_or("?");
    text.trim().chars().take(100).collect::<String>().to_ascii_lowercase()
}

async fn body(mut incoming: Incoming) -> Result<Vec<u8>, Down> {
    let mut bytes = Vec::new();
    while let Some(frame) = incoming.frame().await {
        let frame = frame.map_err(broken_off)?;
        let Some(data) = frame.data_ref() else { continue };
        if bytes.len() + data.len() > MAX_BODY {
            return Err(too_large());
        }
        bytes.extend_from_slice(data);
    }
    Ok(bytes)
}

fn too_large() -> Down {
    Down::new(Kind::TooLarge, format!("the page is larger than {MAX_BODY} bytes"))
}

/// Unpacks, and stops as soon as it is too much.
fn gunzip(packed: &[u8]) -> Result<Vec<u8>, Down> {
    let mut decoder = MultiGzDecoder::new(packed);
    let mut text = Vec::new();
    let mut chunk = vec![0; 64 * 1024];
    loop {
        let read = decoder.read(&mut chunk).map_err(|error| Down::new(Kind::Broken, format!("no gzip: {error}")))?;
        if read == 0 {
            return Ok(text);
        }
        text.extend_from_slice(&chunk[..read]);
        if text.len() > MAX_BODY {
            return Err(too_large());
        }
        if text.len() > LARGE && text.len() / MAX_RATIO > packed.len() {
            let reason = format!("packed more than {MAX_RATIO} times smaller than it is: a gzip bomb");
            return Err(Down::new(Kind::TooLarge, reason));
        }
    }
}

#[cfg(test)]
impl Answer {
    /// A page as it would come from a small exporter.
    pub fn plain(text: &str) -> Self {
        Self { body: text.as_bytes().to_vec(), is_gzip: false, format: Format::Plain }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use flate2::Compression;
    use flate2::write::GzEncoder;

    use super::*;

    fn packed(text: &[u8]) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
        encoder.write_all(text).unwrap();
        encoder.finish().unwrap()
    }

    #[test]
    fn what_is_packed_comes_back_and_a_bomb_does_not_go_off() {
        let page = (0..50_000).map(|n| format!("a{{b=\"{n}\"}} {n}\n")).collect::<String>();
        assert_eq!(gunzip(&packed(page.as_bytes())), Ok(page.into_bytes()));
        let small = b"a 1\n".repeat(LARGE / 8);
        assert_eq!(gunzip(&packed(&small)).map(|text| text.len()), Ok(small.len()), "small is no bomb, however alike");
        let bomb = gunzip(&packed(&vec![b'\n'; 4 * LARGE])).unwrap_err();
        assert!(bomb.kind == Kind::TooLarge && bomb.reason.contains("bomb"), "{bomb}");
        for broken in [&b"a 1\n"[..], b"", &packed(b"a 1\n")[..9], &[&packed(b"a 1\n")[..], b"x"].concat()] {
            let found = gunzip(broken);
            assert!(found.is_err() || broken.is_empty(), "{broken:?} {found:?}");
        }
    }

    #[test]
    fn of_a_url_is_shown_what_is_no_secret() {
        let address = Address::new("http://host:9100/metrics?token=x#y").unwrap();
        assert_eq!(address.shown(), "http://host:9100/metrics");
        assert_eq!((&*address.host, address.port), ("host", 9100));
        let address = Address::new("https://[::1]").unwrap();
        assert_eq!((address.shown().as_str(), &*address.host, address.port), ("https://[::1]/", "::1", 443));
        for url in ["ftp://h/", "h/metrics", "http://", "http://h/a b"] {
            assert!(Address::new(url).is_err(), "{url}");
        }
    }

    #[test]
    fn each_address_of_a_name_is_checked_before_it_is_used() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let resolve = |url: &str, allowed: &[&str]| {
            let networks: Networks = allowed.iter().map(|entry| entry.parse().unwrap()).collect();
            runtime.block_on(Address::new(url).unwrap().resolve(&networks))
        };
        let refused = resolve("http://localhost:9100/", &[]).unwrap_err();
        assert!(refused.kind == Kind::Refused && refused.reason.contains("a loopback address"), "{refused}");
        assert!(resolve("http://localhost:9100/", &["127.0.0.1:9101", "[::1]:9101"]).is_err());
        let allowed = resolve("http://localhost:9100/", &["127.0.0.1:9100"]).unwrap();
        assert_eq!(allowed, [SocketAddr::from(([127, 0, 0, 1], 9100))], "and nothing beside it");
    }
}
