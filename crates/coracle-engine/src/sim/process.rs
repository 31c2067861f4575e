//! Simulated processes: a pod's own command, and commands run beside it.

use std::collections::VecDeque;
use std::sync::Arc;

use bytes::Bytes;
use coracle_model::pod::ExitCause;
use coracle_model::workload::{PodId, Terminal};

use super::console::Console;
use super::program::{Keep, Line, Service, Step, When};
use super::state::State;
use super::stopping::KILLED;
use crate::stream::{Channel, LogLine, SessionInput, SessionOutput};

/// A running command.
#[derive(Debug)]
pub(super) struct Process {
    pub(super) pod: PodId,
    /// Is it the pod's own command?
    pub(super) main: bool,
    lines: VecDeque<Line>,
    status: i64,
    pub(super) timer: Option<u64>,
    input: VecDeque<Bytes>,
    pub(super) input_ended: bool,
    terminal: Terminal,
    pub(super) console: Option<Arc<Console>>,
    /// Output that is no whole line yet, for the log.
    partial: String,
}

/// What to do after a step.
enum Next {
    Step,
    Wait,
    Exit(i64, ExitCause),
}

impl Process {
    pub(super) fn new(
        pod: PodId,
        program: Vec<Line>,
        terminal: Terminal,
        console: Option<Arc<Console>>,
    ) -> Self {
        Self {
            pod,
            main: false,
            lines: program.into(),
            status: 0,
            timer: None,
            input: VecDeque::new(),
            input_ended: false,
            terminal,
            console,
            partial: String::new(),
        }
    }

    pub(super) fn take_timer(&mut self, ticket: u64) -> bool {
        self.timer.take_if(|timer| *timer == ticket).is_some()
    }

    fn next_line(&mut self) -> Option<Step> {
        loop {
            let line = self.lines.pop_front()?;
            let wanted = match line.when {
                When::Always => true,
                When::Success => self.status == 0,
                When::Failure => self.status != 0,
            };
            if wanted {
                return Some(line.step);
            }
        }
    }
}

impl State {
    /// Runs a process until it waits or ends.
    pub(super) fn run_process(&mut self, key: u64) {
        loop {
            let Some(process) = self.processes.get_mut(&key) else {
                return;
            };
            let Some(step) = process.next_line() else {
                let status = process.status;
                return self.exit_process(key, status, ExitCause::Exited);
            };
            match self.perform(key, step) {
                Next::Step => {}
                Next::Wait => return,
                Next::Exit(code, cause) => return self.exit_process(key, code, cause),
            }
        }
    }

    fn listen(&mut self, pod: &PodId, port: Option<u16>, service: Service) {
        if let Some(pod) = self.pods.get_mut(pod) {
            let port = pod.listens_on(port);
            pod.listening.insert(port, service);
        }
        self.reassess(pod);
    }

    fn perform(&mut self, key: u64, step: Step) -> Next {
        let Some(process) = self.processes.get_mut(&key) else {
            return Next::Wait;
        };
        let pod = process.pod.clone();
        let mut status = 0;
        match step {
            Step::Print(channel, line) => self.print(key, channel, &line),
            Step::Sleep(time) => {
                let timer = self.after_process(time, key);
                if let Some(process) = self.processes.get_mut(&key) {
                    process.timer = Some(timer);
                }
                return Next::Wait;
            }
            Step::Listen(port) => self.listen(&pod, port, Service::Web),
            Step::Echo(port) => self.listen(&pod, port, Service::Echo),
            Step::IgnoreTerm => {
                if process.main
                    && let Some(pod) = self.pods.get_mut(&pod)
                {
                    pod.obeys_term = false;
                }
            }
            Step::CopyInput => {
                let pieces = std::mem::take(&mut process.input);
                let ended = process.input_ended;
                if !ended {
                    process.lines.push_front(Line::always(Step::CopyInput));
                }
                for bytes in pieces {
                    self.write(key, Channel::Stdout, &bytes);
                }
                if !ended {
                    return Next::Wait;
                }
            }
            Step::Show(path) => match self.read_file(&pod, &path) {
                Some(text) => {
                    for line in text.lines() {
                        self.print(key, Channel::Stdout, line);
                    }
                }
                None => {
                    self.print(key, Channel::Stderr, &format!("cat: {path}: no such file"));
                    status = 1;
                }
            },
            Step::Write { path, text, keep } => {
                if let Some(files) = self.files(&pod, &path) {
                    let file = files.entry(path).or_default();
                    if keep == Keep::Nothing {
                        file.clear();
                    }
                    file.push_str(&text);
                }
                self.reassess(&pod);
            }
            Step::Delete(path) => {
                if let Some(files) = self.files(&pod, &path) {
                    files.remove(&path);
                }
                self.reassess(&pod);
            }
            Step::Exists(path) => status = i64::from(self.read_file(&pod, &path).is_none()),
            Step::Fetch(url) => match self.fetch(&pod, &url) {
                Ok(text) => {
                    for line in text.lines() {
                        self.print(key, Channel::Stdout, line);
                    }
                }
                Err(why) => {
                    self.print(key, Channel::Stderr, &format!("wget: {why}"));
                    status = 1;
                }
            },
            Step::IsTerminal => {
                status = i64::from(!matches!(process.terminal, Terminal::Tty { .. }));
            }
            Step::TerminalSize => match process.terminal {
                Terminal::Tty { columns, rows } => {
                    self.print(key, Channel::Stdout, &format!("{rows} {columns}"));
                }
                Terminal::Streams => status = 1,
            },
            Step::Status(code) => status = code,
            Step::EatMemory => return Next::Exit(KILLED, ExitCause::OutOfMemory),
            Step::Hang => {
                process.lines.clear();
                return Next::Wait;
            }
            Step::Exit(code) => return Next::Exit(code, ExitCause::Exited),
        }
        match self.processes.get_mut(&key) {
            Some(process) => {
                process.status = status;
                Next::Step
            }
            None => Next::Wait,
        }
    }

    fn exit_process(&mut self, key: u64, code: i64, cause: ExitCause) {
        let Some(process) = self.processes.get(&key) else {
            return;
        };
        let pod = process.pod.clone();
        if process.main {
            return self.ended(&pod, code, cause);
        }
        if let Some(process) = self.processes.remove(&key)
            && let Some(console) = process.console
        {
            console.push(SessionOutput::Exit(code));
        }
    }

    /// Ends all processes of a pod; its own command with `code`, those beside it as killed.
    pub(super) fn end_processes(&mut self, id: &PodId, main: Option<u64>, code: i64) {
        let keys: Vec<u64> = self
            .processes
            .iter()
            .filter(|(_, process)| process.pod == *id)
            .map(|(key, _)| *key)
            .collect();
        for key in keys {
            if let Some(process) = self.processes.get(&key)
                && !process.partial.is_empty()
            {
                self.print(key, Channel::Stdout, "");
            }
            if let Some(process) = self.processes.remove(&key)
                && let Some(console) = process.console
            {
                let code = if main == Some(key) { code } else { KILLED };
                console.push(SessionOutput::Exit(code));
            }
        }
    }

    /// Something for a process's input.
    pub(super) fn feed(&mut self, key: u64, input: SessionInput) {
        let Some(process) = self.processes.get_mut(&key) else {
            return;
        };
        match input {
            SessionInput::Stdin(bytes) => {
                let typed_end = matches!(process.terminal, Terminal::Tty { .. })
                    && bytes.ends_with(&[END_OF_TRANSMISSION]);
                let keep = bytes.len() - usize::from(typed_end);
                process.input.push_back(bytes.slice(..keep));
                process.input_ended |= typed_end;
            }
            SessionInput::End => process.input_ended = true,
            SessionInput::Resize { columns, rows } => {
                if let Terminal::Tty { .. } = process.terminal {
                    process.terminal = Terminal::Tty { columns, rows };
                }
                return;
            }
        }
        let waits = process
            .lines
            .front()
            .is_some_and(|line| line.step == Step::CopyInput)
            && process.timer.is_none();
        if waits {
            self.run_process(key);
        }
    }

    fn print(&mut self, key: u64, channel: Channel, line: &str) {
        let end = match self.processes.get(&key).map(|p| p.terminal) {
            Some(Terminal::Tty { .. }) => "\r\n",
            _ => "\n",
        };
        self.write(key, channel, format!("{line}{end}").as_bytes());
    }

    fn write(&mut self, key: u64, channel: Channel, bytes: &[u8]) {
        let at = self.wall();
        let Some(process) = self.processes.get_mut(&key) else {
            return;
        };
        // A terminal has one output.
        let channel = match process.terminal {
            Terminal::Tty { .. } => Channel::Stdout,
            Terminal::Streams => channel,
        };
        if let Some(console) = &process.console
            && !bytes.is_empty()
        {
            console.push(SessionOutput::Data(channel, Bytes::copy_from_slice(bytes)));
        }
        if !process.main {
            return;
        }
        process.partial.push_str(&String::from_utf8_lossy(bytes));
        let Some(pod) = self.pods.get(&process.pod) else {
            return;
        };
        while let Some(end) = process.partial.find('\n') {
            let line: String = process.partial.drain(..=end).collect();
            let mut rest = line.trim_end_matches(['\r', '\n']);
            loop {
                let cut = rest.floor_char_boundary(LogLine::MOST_BYTES);
                pod.log.push(LogLine {
                    at,
                    channel,
                    text: rest[..cut].to_owned(),
                });
                rest = &rest[cut..];
                if rest.is_empty() {
                    break;
                }
            }
        }
    }

    /// The files among which `path` is: of a volume where one is mounted, else the pod's own.
    fn files(
        &mut self,
        id: &PodId,
        path: &str,
    ) -> Option<&mut std::collections::BTreeMap<String, String>> {
        let pod = self.pods.get_mut(id)?;
        let mount = pod
            .made_from
            .template
            .volumes
            .iter()
            .find(|mount| path.starts_with(&format!("{}/", mount.path.trim_end_matches('/'))));
        match mount {
            Some(mount) => {
                let key = (id.project.clone(), mount.volume.clone());
                Some(&mut self.volumes.entry(key).or_default().files)
            }
            None => Some(&mut pod.files),
        }
    }

    fn read_file(&mut self, id: &PodId, path: &str) -> Option<String> {
        self.files(id, path)?.get(path).cloned()
    }

    /// What `wget` gets: names of pods of the same project, or addresses in it.
    fn fetch(&mut self, from: &PodId, url: &str) -> Result<String, String> {
        let rest = url.trim_start_matches("http://");
        let (host_port, path) = rest.split_once('/').unwrap_or((rest, ""));
        let (host, port) = host_port.split_once(':').unwrap_or((host_port, "80"));
        let port: u16 = port.parse().map_err(|_| format!("bad port in {url}"))?;
        let itself = matches!(host, "127.0.0.1" | "localhost");
        let named = |pod: &&super::pod::SimPod| {
            if itself {
                return pod.id == *from;
            }
            let template = &pod.made_from.template;
            pod.id.project == from.project
                && (pod.id.name.as_str() == host
                    || template.names.iter().any(|name| name == host)
                    || pod
                        .address
                        .is_some_and(|address| address.to_string() == host))
        };
        let mut known = self.pods.values().filter(named).peekable();
        if known.peek().is_none() {
            return Err(format!("bad address '{host}'"));
        }
        let pod = known
            .find(|pod| pod.listening.contains_key(&port) && !pod.hung)
            .ok_or_else(|| format!("can't connect to {host}: Connection refused"))?;
        match path {
            "cgi-bin/whoami" => Ok(format!("{}\n", pod.id.name)),
            path => {
                let file = if path.is_empty() { "index.html" } else { path };
                let text = pod.files.get(&format!("/www/{file}"));
                text.cloned()
                    .ok_or_else(|| "server returned error: HTTP/1.0 404 Not Found".to_owned())
            }
        }
    }
}

/// Control-D: on a terminal it ends the input.
const END_OF_TRANSMISSION: u8 = 4;
