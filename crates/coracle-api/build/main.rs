//! Puts the dashboard into the library, where it was built (`make web`); without it the library has none and says so.
//!
//! Theory of operation: the files are copied first and embedded from the copy, so that a build of the dashboard that
//! runs at the same time cannot take them away in the middle. Of a file that was compressed only the compressed ones
//! are embedded. The folder is made when it is missing: a folder that is not there would have cargo build this library
//! again each time.

#![expect(clippy::print_stdout, reason = "it is what cargo reads")]

mod scan;

use std::error::Error;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

fn main() -> Result<(), Box<dyn Error>> {
    let here = PathBuf::from(std::env::var_os("CARGO_MANIFEST_DIR").ok_or("no manifest")?);
    let out = PathBuf::from(std::env::var_os("OUT_DIR").ok_or("no folder for what is made")?);
    let dist = here.join("../../web/dist");
    if std::fs::create_dir_all(&dist).is_err() {
        // Sources that cannot be written: then nobody builds a dashboard into them either.
        println!("cargo::warning=web/dist is missing and cannot be made");
    }
    println!("cargo::rerun-if-changed=build");
    println!("cargo::rerun-if-changed={}", dist.display());
    let mut code = String::from("&[\n");
    for (at, file) in scan::scan(&dist)?.iter().enumerate() {
        let embed = |what: &str, from: Option<&Path>| -> Result<String, Box<dyn Error>> {
            let Some(from) = from else {
                return Ok("None".to_owned());
            };
            let to = out.join(format!("{at}.{what}"));
            std::fs::copy(from, &to)?;
            Ok(format!("Some(include_bytes!({to:?}))"))
        };
        let plain = match (&file.gzip, &file.brotli) {
            // Who takes neither gets what gzip holds.
            (Some(_), _) => "None".to_owned(),
            (None, _) => embed("plain", Some(&file.plain))?,
        };
        let gzip = embed("gz", file.gzip.as_deref())?;
        let brotli = embed("br", file.brotli.as_deref())?;
        writeln!(
            code,
            "Asset {{ path: {:?}, etag: {:?}, plain: {plain}, gzip: {gzip}, brotli: {brotli} }},",
            file.path, file.etag
        )?;
    }
    code.push(']');
    std::fs::write(out.join("dashboard.rs"), code)?;
    Ok(())
}
