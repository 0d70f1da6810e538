//! Starting children, and commands beside them.

use std::borrow::Cow;
use std::io::{self, PipeReader};
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use dsbus_schema::call::Channel;
use dsbus_schema::ids::{Epoch, InstanceId, ProgramId};
use dsbus_schema::program::ProgramSpec;
use dsbus_schema::program::expand::{Variables, expand};
use uuid::Uuid;

use super::{Driver, Source};
use crate::cgroup::Cgroup;
use crate::children::{Life, Living};
use crate::clock;
use crate::instance::{Files, Input, Instance};
use crate::marks;
use crate::notify::NotifySocket;
use crate::output::{Plan, place};
use crate::poller::Ready;
use crate::process;
use crate::process::leftovers;
use crate::protocol::{Child, ToAgent};
use crate::spawn::{self, Spawned, Who};
use crate::streams::Speaker;

/// A process that was born, and what belongs to it.
struct Birth {
    spawned: Spawned,
    cgroup: Option<Cgroup>,
    notify: Option<NotifySocket>,
    pidfile: Option<PathBuf>,
    variables: Variables,
}

/// A command that runs beside a child.
pub(super) struct Helper {
    pub(super) pid: i32,
    pub(super) output: PipeReader,
    pub(super) cgroup: Option<Cgroup>,
    pub(super) mark: String,
}

impl Driver {
    /// Who a process is; `notify` is where it may say how it is.
    pub(super) fn who<'a>(
        &'a self,
        name: &'a InstanceId,
        home: &'a Path,
        notify: Option<&'a str>,
    ) -> Who<'a> {
        let instance = self.table.get(name);
        Who {
            name,
            id: instance.map_or(ProgramId(Uuid::nil()), Instance::program_id),
            epoch: instance.map_or(Epoch(0), Instance::epoch),
            worker: &self.config.worker,
            fleet: &self.config.fleet,
            incarnation: self.incarnation,
            number: self.starts,
            home,
            settings: &self.config.settings,
            machine: &self.machine,
            secrets: &self.secrets,
            notify,
        }
    }

    pub(super) fn spawn(
        &mut self,
        name: &InstanceId,
        spec: &Arc<ProgramSpec>,
        epoch: Epoch,
    ) -> Input {
        // What was allowed when it was placed may have changed since: a file above all.
        if let Some(refusal) = self.judge(name, spec) {
            return Input::Refused { refusal };
        }
        // Before it lives: this process may be frozen right after.
        self.poller.last_resort_by(self.table.last_resort_of(spec));
        self.starts += 1;
        match self.start(name, spec, epoch) {
            Ok(pid) => Input::Spawned { pid },
            Err(why) => Input::SpawnFailed { why },
        }
    }

    fn start(
        &mut self,
        name: &InstanceId,
        spec: &Arc<ProgramSpec>,
        epoch: Epoch,
    ) -> Result<i32, String> {
        let number = self.starts;
        let Birth { spawned, cgroup, notify, pidfile, variables } = self.birth(name, spec)?;
        let pid = spawned.pid;
        if spawned.setid && cgroup.is_none() {
            let file = spawned.executable.display();
            tracing::warn!(
                "{name}: {file} changes its rights: a supervisor that dies leaves it to its agent to kill"
            );
        }
        let child = Child {
            name: name.clone(),
            epoch,
            pid,
            group: None,
            start_time: process::start_time(pid).unwrap_or(0),
            lease: spec.exclusive.then(|| spec.touch_seconds()),
            cgroup: cgroup.as_ref().map(|cgroup| cgroup.path().display().to_string()),
        };
        self.agent.send(&ToAgent::Child(child.clone()));
        let mut listen = |pipe: Option<PipeReader>, channel| {
            let pipe = pipe?;
            let plan = self.plan_with(name, spec, channel, &variables);
            self.link(name, spec, channel, &plan);
            let source = self.source(Source::Output);
            let speaker = Speaker { epoch, ..self.speaker(name, pid, channel) };
            self.streams.open(&self.poller, source, pipe, plan, speaker);
            Some(source)
        };
        let stdout = listen(Some(spawned.stdout), Channel::Stdout);
        let stderr = listen(spawned.stderr, Channel::Stderr);
        self.mark(name, marks::begin, epoch);
        let notify = notify.map(|socket| self.hear_notices(number, socket));
        let living = Living {
            child,
            spec: Arc::clone(spec),
            group: pid,
            seen: Vec::new(),
            mark: leftovers::mark(&self.incarnation.to_string(), number),
            stdin: spawned.stdin,
            stdout,
            stderr,
            notify,
            cgroup,
            pidfile,
            executable: spawned.executable,
            group_asked: false,
            condemned: None,
            life: if spec.daemon { Life::Forking } else { Life::Living },
        };
        self.children.add(number, living);
        if spec.restart_when_binary_changed {
            self.watch_binary(pid);
        }
        Ok(pid)
    }

    /// Starts the process, with all that it needs.
    fn birth(&mut self, name: &InstanceId, spec: &ProgramSpec) -> Result<Birth, String> {
        let home = self.directory(name)?;
        let notify = self.notify_socket(name, spec)?;
        let who = self.who(name, &home, notify.as_ref().map(NotifySocket::name));
        let variables = spawn::variables(spec, &who)?;
        let pidfile = spec.pidfile.as_ref().map(|path| expand(path, &variables)).transpose();
        let pidfile = pidfile.map_err(|why| format!("pidfile: {why}"))?.map(PathBuf::from);
        self.sockets.acquire(spec, name, &variables, &self.machine.accounts)?;
        let (root, run) = (self.machine.cgroups.as_ref(), self.incarnation);
        let make = |root| Cgroup::make(root, name, run, self.starts, &spec.limits);
        let cgroup = root.map(make).transpose()?;
        let who = self.who(name, &home, notify.as_ref().map(NotifySocket::name));
        let arguments = self.table.get(name).map_or(&[][..], |instance| instance.arguments());
        let given = spec.with_arguments(arguments).map_err(|why| format!("command {why}"));
        let start = |given: Cow<'_, ProgramSpec>| {
            spawn::child(&given, &who, &variables, &self.sockets, cgroup.as_ref())
        };
        match given.and_then(start) {
            Ok(spawned) => Ok(Birth { spawned, cgroup, notify, pidfile, variables }),
            Err(why) => {
                if let Some(cgroup) = cgroup {
                    self.children.remove_cgroup(cgroup, clock::now().boot);
                }
                Err(why)
            }
        }
    }

    /// The directory of an instance, made if it is not there.
    pub(super) fn directory(&self, name: &InstanceId) -> Result<PathBuf, String> {
        let directory = self.home.instance(name);
        if !directory.is_dir() {
            std::fs::create_dir_all(&directory)
                .map_err(|e| format!("cannot make {}: {e}", directory.display()))?;
        }
        Ok(directory)
    }

    fn notify_socket(
        &self,
        name: &InstanceId,
        spec: &ProgramSpec,
    ) -> Result<Option<NotifySocket>, String> {
        if !spec.notify && spec.watchdog.is_none() {
            return Ok(None);
        }
        let account =
            spec.user.as_ref().map(|user| self.machine.accounts.find(user)).transpose()?;
        let uid = account.map_or(self.machine.uid, |account| account.uid);
        let unique = format!("{}/{name}/{}", self.incarnation, self.starts);
        let socket = NotifySocket::open(&unique, uid);
        socket.map(Some).map_err(|e| format!("no socket for sd_notify: {e}"))
    }

    fn hear_notices(&mut self, child: u64, socket: NotifySocket) -> u64 {
        self.last_source += 1;
        let number = self.last_source;
        if let Err(e) = self.poller.add(Ready::Source(number), socket.as_fd()) {
            tracing::error!("cannot hear what a child says of itself: {e}");
        }
        self.sources.insert(number, Source::Notify(child, socket));
        number
    }

    /// Starts a command beside a child, as its user, in its directory and environment, and under
    /// limits like its own.
    pub(super) fn start_helper(
        &mut self,
        name: &InstanceId,
        spec: &ProgramSpec,
        argv: &[String],
        extra: &[(&str, String)],
    ) -> Result<Helper, String> {
        self.starts += 1;
        let home = self.directory(name)?;
        let (root, run) = (self.machine.cgroups.as_ref(), self.incarnation);
        let make = |root| Cgroup::make(root, name, run, self.starts, &spec.limits);
        let cgroup = root.map(make).transpose()?;
        let who = self.who(name, &home, None);
        let helper = spawn::variables(spec, &who).and_then(|variables| {
            spawn::helper(argv, spec, &who, &variables, cgroup.as_ref(), extra)
        });
        let mark = leftovers::mark(&self.incarnation.to_string(), self.starts);
        match helper {
            Ok(helper) => Ok(Helper { pid: helper.pid, output: helper.output, cgroup, mark }),
            Err(why) => {
                if let Some(cgroup) = cgroup {
                    self.children.remove_cgroup(cgroup, clock::now().boot);
                }
                Err(why)
            }
        }
    }

    pub(super) fn variables(
        &self,
        name: &InstanceId,
        spec: &ProgramSpec,
    ) -> Result<Variables, String> {
        let home = self.home.instance(name);
        spawn::variables(spec, &self.who(name, &home, None))
    }

    pub(super) fn expanded(
        &self,
        name: &InstanceId,
        spec: &ProgramSpec,
        text: &str,
    ) -> Result<String, String> {
        if !text.contains("%(") {
            return Ok(text.to_owned());
        }
        expand(text, &self.variables(name, spec)?)
    }

    pub(super) fn speaker(&self, name: &InstanceId, pid: i32, channel: Channel) -> Speaker {
        let instance = self.table.get(name);
        Speaker {
            name: name.clone(),
            id: instance.map_or(ProgramId(Uuid::nil()), Instance::program_id),
            epoch: instance.map_or(Epoch(0), Instance::epoch),
            pid,
            channel,
        }
    }

    /// What becomes of the output of an instance. Where a value cannot be expanded, no child
    /// starts, and this is not asked for.
    pub(super) fn plan(&self, name: &InstanceId, spec: &ProgramSpec, channel: Channel) -> Plan {
        let variables = self.variables(name, spec).unwrap_or_default();
        self.plan_with(name, spec, channel, &variables)
    }

    pub(super) fn plan_with(
        &self,
        name: &InstanceId,
        spec: &ProgramSpec,
        channel: Channel,
        variables: &Variables,
    ) -> Plan {
        let log = self.home.log(name, channel);
        let tag = spec
            .process_name(&name.program, variables)
            .unwrap_or_else(|_| name.program.to_string());
        let settings = &self.config.settings;
        let auto = match &settings.childlogdir {
            Some(directory) => {
                place::auto(directory, self.config.worker.as_str(), &tag, channel, name)
            }
            None => log.clone(),
        };
        let expanded = |text: &str| expand(text, variables).unwrap_or_else(|_| text.to_owned());
        Plan::of(spec, channel, &auto, &tag, settings, expanded)
    }

    /// Lets an agent find the log, wherever it is.
    pub(super) fn link(
        &self,
        name: &InstanceId,
        spec: &ProgramSpec,
        channel: Channel,
        plan: &Plan,
    ) {
        if spec.redirect_stderr && channel == Channel::Stderr {
            return;
        }
        let log = self.home.log(name, channel);
        // Where AUTO is one of several, it is here itself.
        let here = plan.files.contains(&log);
        let actual = if here { Some(&log) } else { plan.files.first() };
        if let Err(e) = place::link(&log, actual.map(PathBuf::as_path)) {
            tracing::warn!("{} cannot lead to the log: {e}", log.display());
        }
    }

    /// Writes down for agents where the output of an epoch begins or ends.
    pub(super) fn mark(
        &self,
        name: &InstanceId,
        write: fn(&Path, Epoch) -> io::Result<()>,
        epoch: Epoch,
    ) {
        let directory = self.home.instance(name);
        if let Err(e) = write(&directory, epoch) {
            let path = marks::path(&directory);
            tracing::warn!(
                "{name}: whoever follows its log may miss some: {}: {e}",
                path.display()
            );
        }
    }

    /// Where the output of an instance can be read.
    pub(super) fn files(&self, name: &InstanceId, spec: &ProgramSpec) -> Files {
        let variables = self.variables(name, spec).unwrap_or_default();
        let file = |channel| {
            let plan = self.plan_with(name, spec, channel, &variables);
            plan.files.first().map(|path| path.display().to_string())
        };
        let stdout = file(Channel::Stdout);
        let stderr = if spec.redirect_stderr { stdout.clone() } else { file(Channel::Stderr) };
        Files { stdout, stderr }
    }
}
