//! How the program is linked, so that its idle processes take little memory.
//!
//! *Packed relocations.* A program that may lie anywhere in memory has a list of the places that hold addresses. In its
//! packed form (RELR) the list takes a fortieth of the room; each process of the program reads it whole at its start,
//! and so has it in memory. The C library's loader knows that form from 2.36 on; an older one does not start such a
//! program.
//!
//! *Layout.* The kernel maps 64 kB around each page of the program that is touched. `layout.ld` names the functions
//! that an idle platform runs, and the linker puts them side by side instead of all over the program. It is made by
//! `bench/platform/order.py`, from a program that was linked with `CORACLE_LAYOUT=none`. Names that are gone are ignored:
//! an old list costs memory and nothing else.

use std::env;
use std::process::Command;

/// The first version of the GNU C library that reads the packed form.
const PACKED_SINCE: (u32, u32) = (2, 36);

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-changed=layout.ld");
    println!("cargo::rerun-if-env-changed=CORACLE_LAYOUT");
    // Of a machine that another one builds for nothing is known, and of a linker of somebody's own choice neither.
    let native = variable("HOST") == variable("TARGET");
    let gnu =
        variable("CARGO_CFG_TARGET_OS") == "linux" && variable("CARGO_CFG_TARGET_ENV") == "gnu";
    let own_linker = !variable("RUSTC_LINKER").is_empty()
        || variable("CARGO_ENCODED_RUSTFLAGS").contains("link");
    if !native || !gnu || own_linker {
        return;
    }
    if c_library().is_some_and(|version| version >= PACKED_SINCE) {
        println!("cargo::rustc-link-arg-bins=-Wl,-z,pack-relative-relocs");
    }
    if variable("PROFILE") == "release" && variable("CORACLE_LAYOUT") != "none" {
        println!("cargo::rustc-link-arg-bins=-T");
        println!(
            "cargo::rustc-link-arg-bins={}/layout.ld",
            variable("CARGO_MANIFEST_DIR")
        );
    }
}

fn variable(name: &str) -> String {
    env::var(name).unwrap_or_default()
}

/// The version of this machine's C library.
fn c_library() -> Option<(u32, u32)> {
    let answer = Command::new("getconf")
        .arg("GNU_LIBC_VERSION")
        .output()
        .ok()?;
    let text = String::from_utf8(answer.stdout).ok()?;
    let mut numbers = text.trim().strip_prefix("glibc ")?.split('.');
    Some((numbers.next()?.parse().ok()?, numbers.next()?.parse().ok()?))
}
