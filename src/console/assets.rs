//! The files of the page, compiled in, and packed once when the first of them is asked for.

use std::collections::BTreeMap;
use std::io::Write;
use std::sync::LazyLock;

use bytes::Bytes;
use flate2::Compression;
use flate2::write::GzEncoder;
use sha2::{Digest, Sha256};

/// What the page's file says where the address of its other files goes.
const FOLDER: &str = "{folder}";
/// And where the modules that it will need are named, so that a browser does not find out one after the other.
const PRELOADS: &str = "<!-- modules -->";

/// One file.
#[derive(Debug)]
pub(super) struct Asset {
    pub(super) content_type: &'static str,
    pub(super) bytes: Bytes,
    /// The same by gzip, where that is smaller.
    pub(super) packed: Option<Bytes>,
    pub(super) etag: String,
}

/// All of them.
#[derive(Debug)]
pub(super) struct Assets {
    /// Changes with any file.
    pub(super) version: String,
    pub(super) page: Asset,
    pub(super) files: BTreeMap<&'static str, Asset>,
}

macro_rules! files {
    ($($name:literal),+ $(,)?) => {
        &[$(($name, include_bytes!(concat!("page/", $name)))),+]
    };
}

const PAGE: &str = include_str!("page/index.html");

/// Names below `page/`. Charts are fetched by the view that draws them.
const FILES: &[(&str, &[u8])] = files![
    "api.js",
    "app.css",
    "chart.js",
    "format.js",
    "main.js",
    "router.js",
    "session.js",
    "shell.js",
    "store.js",
    "ui.js",
    "vendor/hooks.js",
    "vendor/htm.js",
    "vendor/icons.js",
    "vendor/inter.woff2",
    "vendor/normalize.css",
    "vendor/preact.js",
    "vendor/uplot.css",
    "vendor/uplot.js",
    "views/audit.js",
    "views/health.js",
    "views/holds.js",
    "views/letters.js",
    "views/login.js",
    "views/movements.js",
    "views/orders.js",
    "views/payments.js",
    "views/product.js",
    "views/products.js",
    "views/sale.js",
    "views/sales.js",
    "views/settings.js",
    "views/suppliers.js",
];

/// What the first view is made of; the rest comes when it is looked at.
const FIRST: [&str; 12] = [
    "main.js",
    "api.js",
    "format.js",
    "router.js",
    "session.js",
    "shell.js",
    "store.js",
    "ui.js",
    "vendor/preact.js",
    "vendor/hooks.js",
    "vendor/htm.js",
    "vendor/icons.js",
];

pub(super) static ASSETS: LazyLock<Assets> = LazyLock::new(|| {
    let mut hash = Sha256::new();
    hash.update(PAGE);
    for (name, bytes) in FILES {
        hash.update(name);
        hash.update(bytes);
    }
    let version = hex(&hash.finalize()[..8]);
    let folder = format!("/admin/assets/{version}");
    let preload = |name: &str| format!("<link rel=\"modulepreload\" href=\"{folder}/{name}\">\n");
    let preloads: String = FIRST.into_iter().map(preload).collect();
    let page = PAGE.replace(PRELOADS, &preloads).replace(FOLDER, &folder);
    let files = FILES.iter().map(|(name, bytes)| (*name, asset(name, Bytes::from_static(bytes))));
    Assets { page: asset("index.html", page.into()), files: files.collect(), version }
});

fn asset(name: &str, bytes: Bytes) -> Asset {
    let packed = pack(&bytes).filter(|packed| packed.len() < bytes.len());
    let etag = format!("\"{}\"", hex(&Sha256::digest(&bytes)[..8]));
    Asset { content_type: content_type(name), packed, etag, bytes }
}

/// Writing to memory does not fail; if it did, the file would go as it is.
fn pack(bytes: &[u8]) -> Option<Bytes> {
    let mut packer = GzEncoder::new(Vec::new(), Compression::best());
    packer.write_all(bytes).ok()?;
    packer.finish().ok().map(Bytes::from)
}

fn content_type(name: &str) -> &'static str {
    match name.rsplit('.').next() {
        Some("js") => "text/javascript; charset=utf-8",
        Some("css") => "text/css; charset=utf-8",
        Some("html") => "text/html; charset=utf-8",
        Some("woff2") => "font/woff2",
        _ => "application/octet-stream",
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::path::Path;

    use super::*;

    /// Bytes over the wire before the page can be used.
    const FIRST_VIEW: usize = 150 << 10;

    fn below(folder: &Path, prefix: &str, found: &mut BTreeSet<String>) {
        for entry in std::fs::read_dir(folder).unwrap().flatten() {
            let name = format!("{prefix}{}", entry.file_name().to_string_lossy());
            match entry.path().is_dir() {
                true => below(&entry.path(), &format!("{name}/"), found),
                false => drop(found.insert(name)),
            }
        }
    }

    #[test]
    fn every_file_of_the_folder_is_served() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/console/page");
        let mut found = BTreeSet::new();
        below(&folder, "", &mut found);
        let told = ["index.html", "vendor/NOTICE.md"];
        let served = FILES.iter().map(|(name, _)| *name).chain(told).map(str::to_owned);
        assert_eq!(found, served.collect());
    }

    #[test]
    fn the_first_view_is_small() {
        let of = |asset: &Asset| asset.packed.as_ref().unwrap_or(&asset.bytes).len();
        // Whoever is signed in sees a view at once, and the largest is the one with the chart.
        let more = ["app.css", "vendor/normalize.css", "vendor/inter.woff2", "views/sale.js"];
        let more = more.into_iter().chain(["views/sales.js", "chart.js", "vendor/uplot.js"]);
        let all = FIRST.into_iter().chain(more).map(|name| of(&ASSETS.files[name]));
        let total = of(&ASSETS.page) + all.sum::<usize>();
        assert!(total <= FIRST_VIEW, "{total} bytes");
    }

    #[test]
    fn nothing_in_the_page_needs_a_laxer_policy() {
        assert!(PAGE.contains(PRELOADS) && PAGE.contains(FOLDER));
        for forbidden in ["style=", "<style", "onclick", "javascript:", "http://", "https://"] {
            assert!(!PAGE.contains(forbidden), "{forbidden}");
        }
        assert_eq!(PAGE.matches("<script").count(), PAGE.matches("src=\"{folder}").count());
        for (name, bytes) in FILES.iter().filter(|(name, _)| !name.starts_with("vendor/")) {
            let text = std::str::from_utf8(bytes).unwrap();
            for forbidden in ["innerHTML", "eval(", "dangerously", "new Function"] {
                assert!(!text.contains(forbidden), "{name}: {forbidden}");
            }
        }
    }
}
