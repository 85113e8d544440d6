//! The pages: files of `assets/` in the program itself, as they are. No build step makes them, and nothing of another
//! site is loaded: the policy below would not let it.

use std::collections::BTreeMap;
use std::io::Write;
use std::sync::LazyLock;

use axum::Router;
use axum::http::{HeaderMap, HeaderValue, StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use flate2::Compression;
use flate2::write::GzEncoder;
use include_dir::{Dir, include_dir};
use sha2::{Digest, Sha256};

use crate::web::Problem;

static DIRECTORY: Dir<'_> = include_dir!("$CARGO_MANIFEST_DIR/src/warroom/assets");

/// What a page may load, and from where: nothing but its own files, nothing written into it.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self'; \
                      base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// What is served under a path.
struct Asset {
    kind: &'static str,
    plain: &'static [u8],
    packed: Vec<u8>,
    tag: HeaderValue,
}

/// By path, packed once.
static ASSETS: LazyLock<BTreeMap<String, Asset>> = LazyLock::new(|| {
    let mut assets = BTreeMap::new();
    let mut open = vec![&DIRECTORY];
    while let Some(directory) = open.pop() {
        open.extend(directory.dirs());
        for file in directory.files() {
            if let (Some(path), Some(asset)) = (file.path().to_str(), asset(file.path().to_str(), file.contents())) {
                assets.insert(format!("/{path}"), asset);
            }
        }
    }
    assets
});

/// None for what is there for developers alone (types, licences).
fn asset(path: Option<&str>, plain: &'static [u8]) -> Option<Asset> {
    let path = path?;
    let kind = match path.rsplit_once('.')?.1 {
        "html" => "text/html; charset=utf-8",
        "js" => "text/javascript; charset=utf-8",
        "css" => "text/css; charset=utf-8",
        "svg" => "image/svg+xml",
        _ => return None,
    };
    let mut packer = GzEncoder::new(Vec::new(), Compression::best());
    // Into memory, which does not fail.
    packer.write_all(plain).ok()?;
    let packed = packer.finish().ok()?;
    let tag = Sha256::digest(plain).iter().take(8).map(|byte| format!("{byte:02x}")).collect::<String>();
    Some(Asset { kind, plain, packed, tag: HeaderValue::from_str(&format!("\"{tag}\"")).ok()? })
}

/// All pages. They hold nothing of the fleet, so whoever reaches the server may have them.
pub fn router() -> Router {
    Router::new().route("/", get(page)).route("/{*path}", get(page))
}

async fn page(uri: Uri, asked: HeaderMap) -> Result<Response, Problem> {
    let path = if uri.path() == "/" { "/index.html" } else { uri.path() };
    let asset = ASSETS.get(path).ok_or_else(|| Problem::not_found(format!("no page {path:?}")))?;
    let says = |name, what: &str| {
        asked.get(name).and_then(|value| value.to_str().ok()).is_some_and(|value| value.contains(what))
    };
    let fixed = [
        (header::CONTENT_TYPE, HeaderValue::from_static(asset.kind)),
        (header::ETAG, asset.tag.clone()),
        // Asked for again each time, and mostly not sent: a new release shows at once.
        (header::CACHE_CONTROL, HeaderValue::from_static("no-cache")),
        (header::VARY, HeaderValue::from_static("accept-encoding")),
        (header::CONTENT_SECURITY_POLICY, HeaderValue::from_static(POLICY)),
        (header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff")),
        (header::REFERRER_POLICY, HeaderValue::from_static("no-referrer")),
    ];
    if says(header::IF_NONE_MATCH, asset.tag.to_str().unwrap_or_default()) {
        return Ok((StatusCode::NOT_MODIFIED, fixed).into_response());
    }
    if says(header::ACCEPT_ENCODING, "gzip") {
        let packed = [(header::CONTENT_ENCODING, HeaderValue::from_static("gzip"))];
        return Ok((fixed, packed, asset.packed.as_slice()).into_response());
    }
    Ok((fixed, asset.plain).into_response())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The least of what a visitor's browser takes in full.
    #[test]
    fn all_pages_together_are_at_most_200_kib() {
        let packed: usize = ASSETS.values().map(|asset| asset.packed.len()).sum();
        assert!(packed <= 200 * 1024, "{packed} bytes");
        assert!(ASSETS.contains_key("/index.html"), "{:?}", ASSETS.keys());
    }

    #[test]
    fn no_page_loads_anything_of_another_site_and_none_holds_a_script_or_a_style() {
        for (path, asset) in ASSETS.iter().filter(|(path, _)| path.ends_with(".html")) {
            let text = std::str::from_utf8(asset.plain).unwrap();
            for word in ["://", "<style", " style=", " onclick="] {
                assert!(!text.contains(word), "{path}: {word}");
            }
            let scripts = text.matches("<script").count();
            assert_eq!(scripts, text.matches("<script type=\"module\" src=\"/").count(), "{path}: a script of its own");
        }
    }
}
