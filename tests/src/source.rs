//! Folders to deploy.

use std::io::Write as _;
use std::path::Path;

use tempfile::TempDir;

/// The image that everything is built from and run from: BusyBox and a few pages (`images/test/README.md`).
pub const TEST_IMAGE: &str = "coracle-test:1";

/// A folder to deploy. Removed when dropped.
#[derive(Debug)]
pub struct Source(TempDir);

impl Source {
    /// An empty one.
    ///
    /// # Panics
    /// When none can be made.
    #[must_use]
    pub fn empty() -> Self {
        Self(TempDir::with_prefix("coracle-e2e-source.").expect("a folder can be made"))
    }

    /// An app whose page says `text`.
    #[must_use]
    pub fn page(text: &str) -> Self {
        let source = Self::empty();
        source.write(
            "Dockerfile",
            &format!("FROM {TEST_IMAGE}\nCOPY index.html /www/index.html\n"),
        );
        source.write("index.html", &format!("{text}\n"));
        source
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        self.0.path()
    }

    /// Where it is, as an argument.
    ///
    /// # Panics
    /// When it is not UTF-8.
    #[must_use]
    pub fn arg(&self) -> &str {
        self.path().to_str().expect("it was made by this harness")
    }

    /// Writes a file.
    ///
    /// # Panics
    /// When it cannot be written.
    pub fn write(&self, name: &str, text: &str) {
        std::fs::write(self.path().join(name), text).expect("the file can be written");
    }

    /// Makes a file of so many bytes that take no room.
    ///
    /// # Panics
    /// When it cannot be made.
    pub fn sparse(&self, name: &str, bytes: u64) {
        let file = std::fs::File::create(self.path().join(name)).expect("the file can be made");
        file.set_len(bytes)
            .expect("the file system has sparse files");
    }

    /// All of it as a compressed tar.
    ///
    /// # Panics
    /// When it cannot be read.
    #[must_use]
    pub fn archive(&self) -> Vec<u8> {
        let mut tar = tar::Builder::new(flate2::write::GzEncoder::new(
            Vec::new(),
            flate2::Compression::fast(),
        ));
        tar.append_dir_all(".", self.path())
            .expect("the folder can be packed");
        tar.into_inner()
            .and_then(flate2::write::GzEncoder::finish)
            .expect("it fits memory")
    }

    /// A compressed tar of a few megabytes with one file of `bytes` zeros, and a Dockerfile.
    ///
    /// # Panics
    /// When it does not fit memory.
    #[must_use]
    pub fn bomb(bytes: u64) -> Vec<u8> {
        let mut tar = tar::Builder::new(flate2::write::GzEncoder::new(
            Vec::new(),
            flate2::Compression::best(),
        ));
        let file = |name: &str, size: u64| {
            let mut header = tar::Header::new_ustar();
            header.set_path(name).expect("a short name");
            header.set_size(size);
            header.set_mode(0o644);
            header.set_cksum();
            header
        };
        let dockerfile = format!("FROM {TEST_IMAGE}\n");
        tar.append(
            &file("Dockerfile", dockerfile.len() as u64),
            dockerfile.as_bytes(),
        )
        .expect("it fits memory");
        tar.append(
            &file("bomb", bytes),
            std::io::Read::take(std::io::repeat(0), bytes),
        )
        .expect("it fits memory");
        let mut packed = tar.into_inner().expect("it fits memory");
        packed.flush().expect("it fits memory");
        packed.finish().expect("it fits memory")
    }
}
