//! Puts the folders of `templates/` into the program.

use std::fmt::Write as _;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

fn main() -> io::Result<()> {
    let here = PathBuf::from(std::env::var_os("CARGO_MANIFEST_DIR").unwrap_or_default());
    let templates = here.join("../../templates").canonicalize()?;
    println!("cargo::rerun-if-changed={}", templates.display());
    let mut code = String::from("static TEMPLATES: &[Embedded] = &[\n");
    for template in sorted(&templates)? {
        if !template.is_dir() {
            continue;
        }
        println!("cargo::rerun-if-changed={}", template.display());
        let name = file_name(&template);
        let mut files = Vec::new();
        collect(&template, "", &mut files)?;
        let card = template.join("template.toml");
        writeln!(
            code,
            "    Embedded {{ name: {name:?}, card: include_str!({:?}), files: &[",
            card.display().to_string()
        )
        .map_err(io::Error::other)?;
        for (path, file) in files {
            println!("cargo::rerun-if-changed={}", file.display());
            if path == "template.toml" {
                continue;
            }
            writeln!(
                code,
                "        EmbeddedFile {{ path: {path:?}, content: include_bytes!({:?}) }},",
                file.display().to_string()
            )
            .map_err(io::Error::other)?;
        }
        code.push_str("    ] },\n");
    }
    code.push_str("];\n");
    let out = PathBuf::from(std::env::var_os("OUT_DIR").unwrap_or_default());
    fs::write(out.join("templates.rs"), code)
}

fn collect(dir: &Path, within: &str, files: &mut Vec<(String, PathBuf)>) -> io::Result<()> {
    for path in sorted(dir)? {
        let name = match within {
            "" => file_name(&path),
            within => format!("{within}/{}", file_name(&path)),
        };
        if path.is_dir() {
            collect(&path, &name, files)?;
        } else {
            files.push((name, path));
        }
    }
    Ok(())
}

fn sorted(dir: &Path) -> io::Result<Vec<PathBuf>> {
    let mut paths = fs::read_dir(dir)?
        .map(|entry| Ok(entry?.path()))
        .collect::<io::Result<Vec<_>>>()?;
    paths.sort();
    Ok(paths)
}

fn file_name(path: &Path) -> String {
    path.file_name()
        .map(|name| name.to_string_lossy().into_owned())
        .unwrap_or_default()
}
