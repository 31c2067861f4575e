//! Images of the simulated world.

use std::collections::BTreeMap;

use coracle_model::release::CommandLine;

use super::program::{Behaviour, Line, Step};
use super::shell;

/// An image that a test defines.
#[derive(Clone, Debug)]
pub struct SimImage {
    pub(super) reference: String,
    pub(super) id: String,
    pub(super) ports: Vec<u16>,
    pub(super) behaviour: Behaviour,
    pub(super) commands: BTreeMap<String, Behaviour>,
    pub(super) shell: Shell,
    pub(super) place: Place,
    pub(super) files: BTreeMap<String, String>,
}

/// What is in an image beside its own command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Shell {
    /// Nothing: a command that no one defined does what the image's own does.
    None,
    /// A shell with small tools.
    BusyBox,
}

/// Where an image is at first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// On the machine.
    Here,
    /// In a registry: its first use fetches it.
    Registry,
}

/// An image called `reference` that serves at once, on whatever port the workload says.
#[must_use]
pub fn image(reference: &str) -> SimImage {
    SimImage {
        reference: reference.to_owned(),
        id: digest(reference),
        ports: Vec::new(),
        behaviour: Behaviour::serves(),
        commands: BTreeMap::new(),
        shell: Shell::None,
        place: Place::Here,
        files: BTreeMap::new(),
    }
}

impl SimImage {
    /// As the project's test image (`images/test`): a shell, small tools, and a web server.
    #[must_use]
    pub fn busybox(reference: &str) -> Self {
        let mut made = image(reference).ports([8080]);
        made.shell = Shell::BusyBox;
        made.files = BTreeMap::from([
            ("/www/index.html".to_owned(), "coracle-test\n".to_owned()),
            ("/www/healthz".to_owned(), "ok\n".to_owned()),
        ]);
        made
    }

    /// Ports that it says it listens on.
    #[must_use]
    pub fn ports(mut self, ports: impl IntoIterator<Item = u16>) -> Self {
        self.ports = ports.into_iter().collect();
        self
    }

    /// What its own command does.
    #[must_use]
    pub fn behaviour(mut self, behaviour: Behaviour) -> Self {
        self.behaviour = behaviour;
        self
    }

    /// What another command does; `command` is its words with single spaces, or the shell's line.
    #[must_use]
    pub fn on_command(mut self, command: &str, behaviour: Behaviour) -> Self {
        self.commands.insert(command.to_owned(), behaviour);
        self
    }

    /// It is in a registry and must be fetched first.
    #[must_use]
    pub fn in_registry(mut self) -> Self {
        self.place = Place::Registry;
        self
    }

    /// A file in it. An HTTP health check of a path asks for the file `/www` + path, if the image has files there.
    #[must_use]
    pub fn file(mut self, path: &str, text: &str) -> Self {
        self.files.insert(path.to_owned(), text.to_owned());
        self
    }

    /// What a command does here.
    pub(super) fn program(
        &self,
        command: Option<&CommandLine>,
        env: &BTreeMap<String, String>,
    ) -> Vec<Line> {
        let Some(command) = command else {
            return self.behaviour.program();
        };
        let text = match command {
            CommandLine::Shell(line) => line.clone(),
            CommandLine::Exec(words) => words.join(" "),
        };
        if let Some(behaviour) = self.commands.get(&text) {
            return behaviour.program();
        }
        match (self.shell, command) {
            (Shell::None, _) => self.behaviour.program(),
            (Shell::BusyBox, CommandLine::Exec(words)) => shell::program(words, env),
            (Shell::BusyBox, CommandLine::Shell(line)) => {
                shell::program(&["sh".into(), "-c".into(), line.clone()], env)
            }
        }
    }

    /// What a command run beside the pod's own does: scripted, or the shell's, or an echo of its words.
    pub(super) fn exec_program(
        &self,
        words: &[String],
        env: &BTreeMap<String, String>,
    ) -> Vec<Line> {
        if let Some(behaviour) = self.commands.get(&words.join(" ")) {
            return behaviour.program();
        }
        match self.shell {
            Shell::BusyBox => shell::program(words, env),
            Shell::None => vec![Line::always(Step::Print(
                crate::stream::Channel::Stdout,
                words.join(" "),
            ))],
        }
    }
}

/// A digest that is the same for the same text (FNV-1a, four times over: it only has to look like one).
pub(super) fn digest(text: &str) -> String {
    let mut out = String::from("sha256:");
    for round in 0..4u64 {
        let mut hash = 0xcbf2_9ce4_8422_2325 ^ round.wrapping_mul(0x9E37_79B9_7F4A_7C15);
        for byte in text.bytes() {
            hash = (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3);
        }
        out.push_str(&format!("{hash:016x}"));
    }
    out
}
