//! What a declaration says of one channel.

use std::path::{Path, PathBuf};

use dsbus_schema::call::Channel;
use dsbus_schema::program::{LogTarget, ProgramSpec};
use serde::{Deserialize, Serialize};

use super::Rotation;
use crate::Settings;

/// Most bytes that are kept between the marks of capture mode, whatever is declared: it is memory
/// of the worker, and Supervisor's manual has 1 MB as its example.
const CAPTURE_BYTES_MAX: u64 = 1 << 20;

/// How one channel of a child's output is treated; made of the declaration.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[expect(clippy::struct_excessive_bools, reason = "each is a key that people switch on or off")]
pub(crate) struct Plan {
    /// Files that it is written to; none twice.
    pub(crate) files: Vec<PathBuf>,
    /// Whether it is written to the worker's own standard output.
    pub(crate) stdout: bool,
    /// Whether it is written to the worker's own standard error.
    pub(crate) stderr: bool,
    /// The tag under which syslog has it: the process name.
    pub(crate) syslog: Option<String>,
    /// When its files are rotated.
    pub(crate) rotation: Rotation,
    /// Most bytes between the marks of capture mode; 0 is off.
    pub(crate) capture_max: usize,
    /// Whether all that is logged is told, too.
    pub(crate) events: bool,
    /// Whether each line of a file begins with the time it was read.
    pub(crate) timestamps: bool,
    /// Whether escapes of terminals are left out.
    pub(crate) strip_ansi: bool,
}

impl Plan {
    /// The plan of a channel. AUTO is the file `auto`, `tag` is the process name, and `expand`
    /// puts in the values of `%(...)s`.
    pub(crate) fn of(
        spec: &ProgramSpec,
        channel: Channel,
        auto: &Path,
        tag: &str,
        settings: &Settings,
        expand: impl Fn(&str) -> String,
    ) -> Plan {
        let (targets, bytes_max, backups, capture, events, syslog) = match channel {
            Channel::Stdout => (
                &spec.stdout_logfile,
                spec.stdout_logfile_maxbytes,
                spec.stdout_logfile_backups,
                spec.stdout_capture_maxbytes,
                spec.stdout_events_enabled,
                spec.stdout_syslog,
            ),
            Channel::Stderr => (
                &spec.stderr_logfile,
                spec.stderr_logfile_maxbytes,
                spec.stderr_logfile_backups,
                spec.stderr_capture_maxbytes,
                spec.stderr_events_enabled,
                spec.stderr_syslog,
            ),
        };
        let targets = targets.targets();
        let mut files = Vec::new();
        for target in targets {
            let file = match target {
                LogTarget::Auto => auto.to_owned(),
                LogTarget::File(path) => PathBuf::from(expand(path)),
                LogTarget::Stdout | LogTarget::Stderr | LogTarget::Syslog | LogTarget::Null => {
                    continue;
                }
            };
            if !files.contains(&file) {
                files.push(file);
            }
        }
        let syslog = ProgramSpec::to_syslog(targets, syslog).then(|| tag.to_owned());
        Plan {
            files,
            stdout: targets.contains(&LogTarget::Stdout),
            stderr: targets.contains(&LogTarget::Stderr),
            syslog,
            rotation: Rotation {
                bytes_max: bytes_max.0,
                backups,
                compress: spec.log_compress,
                max_age: spec.log_max_age.map(|span| span.0),
            },
            capture_max: usize::try_from(capture.0.min(CAPTURE_BYTES_MAX)).unwrap_or(0),
            events,
            timestamps: spec.log_timestamps,
            strip_ansi: spec.strip_ansi || settings.strip_ansi,
        }
    }
}

#[cfg(test)]
mod tests {
    use dsbus_schema::lenient::{Size, Span};

    use super::*;

    fn plan(spec: &ProgramSpec, channel: Channel) -> Plan {
        let expand = |text: &str| text.replace("%(process_num)d", "7");
        Plan::of(spec, channel, Path::new("/auto"), "web_07", &Settings::default(), expand)
    }

    fn targets(text: &str) -> dsbus_schema::program::LogTargets {
        serde_json::from_str(text).unwrap()
    }

    #[test]
    fn each_target_is_obeyed() {
        let none = (vec![], false, false, None);
        let file = |path: &str| (vec![PathBuf::from(path)], false, false, None);
        for (text, wanted) in [
            (r#""AUTO""#, file("/auto")),
            (r#""NONE""#, none),
            (r#""/log/%(process_num)d""#, file("/log/7")),
            (r#""/dev/stdout""#, (vec![], true, false, None)),
            (r#""/dev/stderr""#, (vec![], false, true, None)),
            (r#""syslog""#, (vec![], false, false, Some("web_07".to_owned()))),
            (r#"["/a", "/a", "/b"]"#, (vec!["/a".into(), "/b".into()], false, false, None)),
        ] {
            let spec = ProgramSpec { stderr_logfile: targets(text), ..ProgramSpec::default() };
            let plan = plan(&spec, Channel::Stderr);
            assert_eq!((plan.files, plan.stdout, plan.stderr, plan.syslog), wanted, "{text}");
        }
    }

    #[test]
    fn each_channel_has_its_own_keys() {
        let spec = ProgramSpec {
            stdout_logfile_maxbytes: Size(1),
            stdout_logfile_backups: 2,
            stdout_capture_maxbytes: Size(3),
            stdout_events_enabled: true,
            stderr_logfile_maxbytes: Size(4),
            stderr_logfile_backups: 5,
            stderr_capture_maxbytes: Size(6),
            stderr_syslog: true,
            log_timestamps: true,
            log_compress: true,
            log_max_age: Some(Span::from_secs(8)),
            strip_ansi: true,
            ..ProgramSpec::default()
        };
        let (out, err) = (plan(&spec, Channel::Stdout), plan(&spec, Channel::Stderr));
        let max_age = Some(std::time::Duration::from_secs(8));
        let rotation =
            |bytes_max, backups| Rotation { bytes_max, backups, compress: true, max_age };
        assert_eq!((out.rotation, err.rotation), (rotation(1, 2), rotation(4, 5)));
        assert_eq!((out.capture_max, err.capture_max), (3, 6));
        assert_eq!((out.events, err.events), (true, false));
        assert_eq!((&out.syslog, err.syslog.as_deref()), (&None, Some("web_07")));
        assert!(out.timestamps && out.strip_ansi && err.timestamps && err.strip_ansi);
    }

    #[test]
    fn the_owner_of_the_machine_may_strip_all_output() {
        let settings = Settings { strip_ansi: true, ..Settings::default() };
        let spec = ProgramSpec::default();
        let plan = Plan::of(&spec, Channel::Stdout, Path::new("/a"), "x", &settings, str::to_owned);
        assert!(plan.strip_ansi);
    }
}
